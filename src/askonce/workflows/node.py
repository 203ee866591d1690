"""One node, from its beginning to its end, and what is written of it. What it does meanwhile is `making`'s.

    running ─▶ asked (waiting, tried again) ─▶ succeeded
                      └─▶ failed: by what was asked, by its own fault, or because the execution's time is over

What is asked depends on how much a model reads, which may change from hour to hour. So the node's first row notes it
(`report`), and whoever takes the node up after a death asks the very same.

Cancelled: its call is hung up, and nothing is written; whoever cancelled it knows whether it goes on later.
"""

import asyncio
from typing import Protocol

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from askonce.domain.answer import Answer, pack
from askonce.domain.clock import Clock
from askonce.domain.errors import AskonceError, DatabaseAway, InternalError
from askonce.domain.executions import NewEvent, NodeRun, Submission, Turn, TurnOver
from askonce.domain.graph import Node
from askonce.domain.ports import Observer
from askonce.gate.settle import UNEXPECTED
from askonce.gate.unbroken import unbroken
from askonce.wire.fences import File
from askonce.workflows.asking import Answered
from askonce.workflows.events import node_event, text_event, waiting_event
from askonce.workflows.files_of import raw_files
from askonce.workflows.scribe import Scribe
from askonce.workflows.telling import node_told

TIMED_OUT = "timed_out"
OUT_OF_TIME = "The execution's time was over before this was done."
# An event of words holds no more: whole answers from the store come at once, and readers take events whole.
EVENT_CHARS = 64 << 10
# Of several answers of one node, that counts which cost most.
_BY_COST = ("", "hit", "coalesced", "resumed", "off", "refresh", "miss")


class Pace:
    """Count how far an execution is."""

    def __init__(self, total: int, ended: int) -> None:
        self._total = total
        self._ended = ended

    def percent(self) -> int:
        """Return the share of nodes that have ended, in per cent."""
        return 100 * self._ended // max(1, self._total)

    def one_more(self) -> int:
        """Count a node that ends, and return the share."""
        self._ended += 1
        return self.percent()


class Job(Struct, frozen=True):
    """Hold one node's work: whose it is, until when (epoch milliseconds), and what was written of it before."""

    submission: Submission
    turn: Turn
    node: Node
    before: NodeRun
    until_ms: int
    pace: Pace


class Made(Struct, frozen=True):
    """Hold what a node leaves."""

    text: str = ""
    files: tuple[File, ...] = ()
    note: str = ""
    report: Raw = Raw(b"null")
    score: int = -1
    answer: Answer | None = None


class Decided(Struct, frozen=True):
    """Hold what was decided before a node asked: how many tokens the model reads, 0 where that is of no interest."""

    window: int = 0


class Work(Protocol):
    """Do what a node is for."""

    def decide(self) -> Decided:
        """Decide what a death must not change. Does not raise."""
        ...

    async def make(self, pen: "Pen", decided: Decided) -> Made:
        """Do it. Raises what the node fails with."""
        ...


class Pen:
    """Write what happens to one node while it runs (port `asking.Ears`), and add up what its answers cost."""

    def __init__(self, scribe: Scribe, turn: Turn, run: NodeRun, pace: Pace) -> None:
        self.run = run
        self._turn = turn
        self._scribe = scribe
        self._pace = pace
        self._untold: list[NewEvent] = []  # words that go out with what is written next

    async def begin(self) -> None:
        """Write that it runs."""
        await self._scribe.keep(self._turn, self.run, self._told(node_event(self.run)), self._pace.percent())

    async def words(self, at: int, text: str) -> None:
        """Tell the next words."""
        self.last_words(at, text)
        await self._scribe.tell(self._turn, self._told())

    def last_words(self, at: int, text: str) -> None:
        """Tell them with the node's end: one transaction instead of two."""
        starts = range(0, len(text), EVENT_CHARS)
        self._untold += [text_event(self.run.node, at + start, text[start : start + EVENT_CHARS]) for start in starts]

    async def waits(self, reason: AskonceError, wait_s: float) -> None:
        """Tell what is waited for."""
        await self._scribe.tell(self._turn, self._told(waiting_event(self.run, reason, wait_s)))

    async def again(self) -> None:
        """Count another try."""
        self.run = replace(self.run, attempts=self.run.attempts + 1)
        await self.begin()

    def answered(self, answered: Answered) -> None:
        """Add an answer's cost to the node's."""
        run, answer = self.run, answered.answer
        self.run = replace(
            run,
            provider=answer.provider,
            model=answer.model,
            model_version=answer.model_version,
            cache=max(run.cache, answered.cache, key=_BY_COST.index),
            prompt_tokens=run.prompt_tokens + answer.usage.prompt_tokens,
            completion_tokens=run.completion_tokens + answer.usage.completion_tokens,
            cost_nano=run.cost_nano + answered.cost_nano,
            saved_nano=run.saved_nano + answered.saved_nano,
        )

    async def is_unwanted(self) -> bool:
        """Say whether its owner wished to cancel; where nobody can say, not."""
        execution = await self._scribe.glance(self.run.execution)
        return execution is not None and execution.wish == "cancel"

    async def end(self, ended: NodeRun) -> NodeRun:
        """Write how it ended, whatever comes meanwhile; the cancellation, if any, is raised after that."""
        await unbroken(self._scribe.keep(self._turn, ended, self._told(node_event(ended)), self._pace.one_more()))
        return ended

    def _told(self, *more: NewEvent) -> list[NewEvent]:
        told, self._untold = [*self._untold, *more], []
        return told


class Nodes:
    """Bring nodes to their ends."""

    def __init__(self, scribe: Scribe, clock: Clock, observer: Observer) -> None:
        self._scribe = scribe
        self._clock = clock
        self._observer = observer

    async def do(self, job: Job, work: Work) -> NodeRun:
        """Do a node's work, and write how it ended. Raises `DatabaseAway`, `TurnOver`; whatever else is its end."""
        pen, decided = await self._begun(job, work)
        time = asyncio.timeout((job.until_ms - self._clock.wall_ms()) / 1000)
        try:
            async with time:
                made = await work.make(pen, decided)
        except (DatabaseAway, TurnOver):
            raise
        except AskonceError as error:
            return await self._failed(job, pen, error.code, error.message)
        except Exception as error:
            if time.expired() and isinstance(error, TimeoutError):
                return await self._failed(job, pen, TIMED_OUT, OUT_OF_TIME)
            # A defect in one node's work is that node's end; whoever watches over the house hears of it.
            self._observer.defect(error)
            return await self._failed(job, pen, InternalError.code, UNEXPECTED)
        done = replace(
            pen.run,
            status="succeeded",
            ended_ms=self._clock.wall_ms(),
            text=made.text,
            files=raw_files(made.files),
            note=made.note,
            report=made.report,
            score=made.score,
            answer=b"" if made.answer is None else bytes(pack(made.answer)),
        )
        return await self._ended(job, pen, done)

    async def ends(self, job: Job, ended: NodeRun) -> NodeRun:
        """Write the end of a node that did not begin."""
        return await Pen(self._scribe, job.turn, ended, job.pace).end(ended)

    async def _begun(self, job: Job, work: Work) -> tuple[Pen, Decided]:
        before = job.before
        decided = _decided(before.report) if before.status == "running" else None
        decided = decided or work.decide()
        run = NodeRun(
            job.submission.id,
            job.node.id,
            "running",
            attempts=before.attempts + 1,
            started_ms=before.started_ms or self._clock.wall_ms(),
            report=Raw(msgspec.json.encode(decided)),
        )
        pen = Pen(self._scribe, job.turn, run, job.pace)
        await pen.begin()
        return pen, decided

    async def _failed(self, job: Job, pen: Pen, code: str, reason: str) -> NodeRun:
        now_ms = self._clock.wall_ms()
        failed = replace(pen.run, status="failed", ended_ms=now_ms, error_code=code, error=reason, report=Raw(b"null"))
        return await self._ended(job, pen, failed)

    async def _ended(self, job: Job, pen: Pen, run: NodeRun) -> NodeRun:
        """Write how it ended, and tell of it; a question's one node is told with its execution."""
        ended = await pen.end(run)
        if job.submission.kind == "workflow":
            self._observer.worked(node_told(job.submission, job.turn.round, job.node.type, ended))
        return ended


def _decided(report: Raw) -> Decided | None:
    try:
        return msgspec.json.decode(report, type=Decided)
    except msgspec.DecodeError:
        return None
