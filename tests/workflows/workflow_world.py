"""A little world for workflows: rows in dicts, a road that plays a script and counts what is paid, lives that end."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace
from tests.gate.gate_world import LoopClock, Notes

from askonce.cache.promise import promise_of
from askonce.domain.answer import Answer, Delta, Entry, FinishReason, Piece, pack
from askonce.domain.call import Ask, Call, Candidate, Format, Message, RoutingWish
from askonce.domain.content import text_of
from askonce.domain.errors import AskonceError, ProviderFailed
from askonce.domain.executions import (
    ENDED,
    QUEUES,
    Event,
    Execution,
    ExecutionPage,
    ExecutionQuestion,
    NewEvent,
    NodeRun,
    NoticeState,
    QueueName,
    QueueState,
    Room,
    Submission,
    Submitter,
    Turn,
    TurnOver,
    WorkerExecutions,
)
from askonce.domain.graph import Graph, Node
from askonce.domain.identity import Holder, KeyCard, Standing
from askonce.domain.usage import Usage
from askonce.gate.answering import Arrival
from askonce.gate.pipeline import Admitted
from askonce.gate.plan import Visit
from askonce.routing.route import Route
from askonce.wire.fences import File
from askonce.wire.native_answer import NATIVE
from askonce.workflows.asking import Asking
from askonce.workflows.crafts import Brief, Inspection, Reviewed, Task
from askonce.workflows.making import Tools
from askonce.workflows.round import WorkflowWork
from askonce.workflows.run import House, Runs
from askonce.workflows.scribe import Scribe
from askonce.workflows.submitters import Submitters

TENANT = "acme"
WHO = Candidate("vendor", "m-1")
COST_NANO = 1_000
USAGE = Usage(10, 5)
TIMEOUT_S = 600


class Killed(BaseException):
    """End a process."""


class Life:
    """Count the points at which a process may die, and let it die at one. What is dead does nothing more."""

    def __init__(self, dies_at: int = 0) -> None:
        self.dies_at = dies_at
        self.points = 0
        self.dead = False

    async def point(self) -> None:
        """Suspend; perhaps die."""
        self.points += 1
        if self.points == self.dies_at:
            self.dead = True
        if self.dead:
            raise Killed
        await asyncio.sleep(0)
        if self.dead:
            raise Killed


class MemoryExecutions:
    """Keep executions in dicts (port `WorkerExecutions`)."""

    def __init__(self) -> None:
        self.rows: dict[str, Execution] = {}
        self.runs: dict[str, dict[str, NodeRun]] = {}
        self.told: dict[str, list[Event]] = {}
        self.workers: dict[str, str] = {}
        self.notices: dict[str, NoticeState] = {}
        self.paused: set[QueueName] = set()
        self.now_ms: Callable[[], int] = lambda: 0

    async def submit(self, submissions: Sequence[Submission]) -> tuple[Execution, ...]:
        """Write new ones; return those that are there as they stand."""
        return tuple(self._submit(submission) for submission in submissions)

    def _submit(self, submission: Submission) -> Execution:
        for row in self.rows.values():
            same = row.submission.dedup == submission.dedup and _tenant(row) == submission.submitter.tenant
            if row.id == submission.id or (submission.dedup and same and not row.has_ended):
                return row
        row = self.rows[submission.id] = Execution(submission)
        self.runs[submission.id], self.told[submission.id] = {}, []
        self._status(row)
        return row

    async def find(self, id: str, tenant: str | None) -> Execution | None:
        """Return one."""
        row = self.rows.get(id)
        return row if row is not None and tenant in (None, _tenant(row)) else None

    async def nodes(self, id: str) -> tuple[NodeRun, ...]:
        """Return its nodes."""
        return tuple(self.runs.get(id, {}).values())

    async def page(self, question: ExecutionQuestion) -> ExecutionPage:
        """List those of a tenant, newest first, by kind, status, queue and batch."""
        found = [
            row
            for row in reversed(self.rows.values())
            if question.tenant in (None, _tenant(row))
            and question.identity in ("", row.submission.submitter.identity)
            and (not question.kinds or row.submission.kind in question.kinds)
            and (not question.statuses or row.status in question.statuses)
            and question.queue in ("", row.submission.queue)
            and question.batch in ("", row.submission.batch)
        ]
        first = int(question.after or 0)
        after = str(first + question.size) if len(found) > first + question.size else ""
        return ExecutionPage(tuple(found[first : first + question.size]), after)

    async def wish_cancel(self, id: str, tenant: str | None, now_ms: int) -> Execution | None:
        """Wish for it, or end what nobody has taken."""
        row = await self.find(id, tenant)
        if row is None or row.has_ended:
            return row
        if row.status == "running":
            row = self.rows[id] = replace(row, wish="cancel")
        else:
            row = self.rows[id] = replace(
                row, status="cancelled", ended_ms=now_ms, error_code="cancelled", error="Cancelled."
            )
            self._status(row, "done")
        return row

    async def resume(self, id: str, tenant: str | None, now_ms: int) -> Execution | None:
        """Queue it once more."""
        row = await self.find(id, tenant)
        if row is None or row.status not in ("failed", "cancelled"):
            return row
        self.runs[id] = {node: run for node, run in self.runs[id].items() if run.status in ("succeeded", "skipped")}
        row = Execution(row.submission, round=row.round + 1, taken=row.taken)
        self.rows[id] = row
        self._status(row)
        return row

    async def events(self, after: Mapping[str, int], size: int) -> tuple[Event, ...]:
        """Return the next ones."""
        found = [event for id in sorted(after) for event in self.told.get(id, []) if event.number > after[id]]
        return tuple(found[:size])

    async def notice(self, id: str) -> NoticeState | None:
        """Say how far its webhook was told."""
        return self.notices.get(id)

    async def queues(self, now_ms: int) -> tuple[QueueState, ...]:
        """Count."""
        return tuple(self._queue(name, now_ms) for name in QUEUES)

    def _queue(self, name: QueueName, now_ms: int) -> QueueState:
        rows = [row for row in self.rows.values() if row.submission.queue == name]
        count = {status: sum(row.status == status for row in rows) for status in ("running", "succeeded", "failed")}
        queued = [row for row in rows if row.status == "queued"]
        due = [row.submission.created_ms for row in queued if row.submission.not_before_ms <= now_ms]
        return QueueState(
            name,
            name in self.paused,
            len(due),
            len(queued) - len(due),
            **count,
            cancelled=sum(row.status == "cancelled" for row in rows),
            oldest_ms=min(due, default=0),
        )

    async def pause(self, queue: QueueName, *, paused: bool) -> None:
        """Pause or go on."""
        (self.paused.add if paused else self.paused.discard)(queue)

    async def claim(self, rooms: Sequence[Room], worker: str, now_ms: int) -> tuple[Execution, ...]:
        """Take what is due, oldest first."""
        taken: list[Execution] = []
        for room in rooms:
            queued = [row for row in self.rows.values() if row.submission.queue == room.queue]
            due = [row for row in queued if row.status == "queued" and row.submission.not_before_ms <= now_ms]
            free = 0 if room.queue in self.paused else room.free
            taken += [self._claimed(row, worker, now_ms) for row in due[:free]]
        return tuple(taken)

    def _claimed(self, row: Execution, worker: str, now_ms: int) -> Execution:
        self.workers[row.id] = worker
        row = self.rows[row.id] = replace(row, status="running", started_ms=now_ms)
        self._status(row)
        return row

    async def held(self, worker: str | None = None) -> tuple[tuple[str, int, str], ...]:
        """Return what runs."""
        running = [row for row in self.rows.values() if row.status == "running"]
        mine = [(row.id, row.round, self.workers[row.id]) for row in running]
        return tuple(one for one in mine if worker in (None, one[2]))

    async def take_over(self, id: str, round: int, worker: str) -> bool:
        """Make a running one this worker's."""
        row = self.rows.get(id)
        if row is None or (row.status, row.round) != ("running", round):
            return False
        self.workers[id] = worker
        return True

    async def wishes(self, worker: str) -> tuple[tuple[str, int], ...]:
        """Return what of this worker's is to be cancelled."""
        return tuple((id, round) for id, round, _ in await self.held(worker) if self.rows[id].wish)

    async def begin(self, id: str, round: int, now_ms: int) -> Execution | None:
        """Count a taking-up."""
        row = self.rows.get(id)
        if row is None or (row.status, row.round) != ("running", round):
            return None
        row = self.rows[id] = replace(row, taken=row.taken + 1)
        return row

    async def keep(self, turn: Turn, run: NodeRun, events: Sequence[NewEvent], progress: int) -> None:
        """Write a node."""
        self._in_turn(turn)
        self.runs[run.execution][run.node] = run
        self.rows[run.execution] = replace(self.rows[run.execution], progress=progress)
        self._tell(run.execution, events)

    async def tell(self, turn: Turn, events: Sequence[NewEvent]) -> None:
        """Write events."""
        self._in_turn(turn)
        self._tell(turn.execution, events)

    def _in_turn(self, turn: Turn) -> None:
        row = self.rows.get(turn.execution)
        if row is None or row.status != "running" or row.turn != turn:
            raise TurnOver

    async def end(self, execution: Execution, events: Sequence[NewEvent]) -> bool:
        """End it."""
        row = self.rows[execution.id]
        if row.status != "running" or row.turn != execution.turn:
            return False
        assert execution.status in ENDED
        self.rows[execution.id] = replace(execution, taken=row.taken, wish="")
        self._tell(execution.id, events)
        return True

    async def sweep(self, done_before_ms: int, failed_before_ms: int, size: int) -> int:
        """Delete nothing."""
        return 0

    def _status(self, row: Execution, *more: Literal["done"]) -> None:
        told = Raw(msgspec.json.encode({"status": row.status, "round": row.round}))
        self._tell(row.id, [NewEvent("execution", told), *(NewEvent(kind, told) for kind in more)])

    def _tell(self, id: str, events: Sequence[NewEvent]) -> None:
        told = self.told[id]
        for event in events:
            told.append(Event(id, len(told) + 1, self.now_ms(), event.kind, event.data))


def _tenant(row: Execution) -> str:
    return row.submission.submitter.tenant


def _is_the_port(store: MemoryExecutions) -> WorkerExecutions:
    return store


class Guarded:
    """Stand before a port's methods: a process may die before each act, and behind it."""

    def __init__(self, inner: Any, life: Life) -> None:
        self._inner = inner
        self._life = life

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        async def guarded(*args: Any, **named: Any) -> Any:
            await self._life.point()
            result = await method(*args, **named)
            await self._life.point()
            return result

        return guarded


class Paid(Struct, frozen=True):
    """Hold a call that was made: its name, and what was asked."""

    name: str
    call: Call
    routing: RoutingWish
    visit: Visit


Reply = str | Answer | AskonceError
Script = Callable[[Paid], Reply | Sequence[Reply]]


class ScriptedRoad:
    """Play answers, and count: what was paid, what arrived, and what was paid though its answer had arrived.

    What a script says of a name are its calls one after the other; the last is said again and again.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.paid: list[Paid] = []
        self.repeated: list[str] = []
        self.left: list[str] = []
        self.in_air = 0
        self.most_in_air = 0
        self.promised: dict[bytes, Entry] = {}
        self.stored: dict[str, Entry] = {}  # by what is asked: answers that others had paid
        self.takes_s = 0.0
        self.streams = True
        self.clock = LoopClock()

    def of(self, life: Life) -> "RoadOfLife":
        """Return the road as one process sees it."""
        return RoadOfLife(self, life)

    def calls(self, name: str = "") -> int:
        """Count the calls whose name begins so."""
        return sum(paid.name.startswith(name) for paid in self.paid)


class RoadOfLife:
    """Travel (port `asking.Traveller`)."""

    def __init__(self, road: ScriptedRoad, life: Life) -> None:
        self._road = road
        self._life = life

    async def travel(self, ask: Ask, visit: Visit) -> Admitted:
        """Look up what was promised; else ask."""
        road = self._road
        await self._life.point()
        promise = promise_of(ask, visit.caller.identity)
        assert promise is not None
        assert ask.call.stream
        assert visit.window is None
        route = Route(ask.routing.mode, (WHO,))
        if (kept := road.promised.get(promise.key)) is not None:
            return Admitted(None, None, kept, route, replayed=True)
        if (stored := road.stored.get(asked_of(ask.call))) is not None:
            road.promised[promise.key] = stored
            return Admitted(None, None, stored, route)
        paid = Paid(ask.retry_key, ask.call, ask.routing, visit)
        said = road.script(paid)
        replies = [said] if isinstance(said, str | Answer | AskonceError) else list(said)
        before = sum(one.name == paid.name for one in road.paid)
        reply = replies[min(before, len(replies) - 1)]
        road.paid.append(paid)
        if isinstance(reply, AskonceError) and not isinstance(reply, ProviderFailed):
            return Admitted(None, None, reply, route)
        seat: Any = PlayedSeat(road, self._life, paid, reply, promise.key)
        return Admitted(None, None, seat, route)


class PlayedSeat:
    """Play one call (as `gate.answering.Joined`)."""

    state = "miss"
    replayed = False
    attempts = ()

    def __init__(self, road: ScriptedRoad, life: Life, paid: Paid, reply: Reply, key: bytes) -> None:
        self._road, self._life, self._paid, self._key = road, life, paid, key
        self._reply = reply
        self._moves = self._play()
        self._left = False
        road.in_air += 1
        road.most_in_air = max(road.most_in_air, road.in_air)

    async def more(self) -> Sequence[Piece] | None:
        """Return the next words."""
        await self._life.point()
        return next(self._moves, None)

    async def arrival(self) -> Any:
        """Keep the promise, then return the answer."""
        await asyncio.sleep(self._road.takes_s)
        await self._life.point()
        if isinstance(self._reply, AskonceError):
            raise self._reply
        entry = entry_of(self._reply, self._road.clock.wall_ms())
        if self._key in self._road.promised:
            self._road.repeated.append(self._paid.name)
        if entry.open().finish != "content_filter" and entry.open().text.strip():
            self._road.promised[self._key] = entry
        await self._life.point()
        return Arrival(entry, "miss", True)

    def give_up(self) -> None:
        """Leave."""
        self.leave()

    def leave(self) -> None:
        """Note it."""
        if not self._left:
            self._left = True
            self._road.in_air -= 1
            self._road.left.append(self._paid.name)

    def _play(self) -> Any:
        text = (
            ""
            if isinstance(self._reply, AskonceError) or not self._road.streams
            else entry_of(self._reply, 0).open().text
        )
        half = len(text) // 2
        yield from ((Delta(part),) for part in (text[:half], text[half:]) if part)


def answer_of(text: str, finish: FinishReason = "stop") -> Answer:
    """Make an answer."""
    return Answer(text, finish, USAGE, WHO.provider, WHO.model, "m-1-2024", COST_NANO)


def entry_of(reply: str | Answer, now_ms: int) -> Entry:
    """Make an entry."""
    answer = answer_of(reply) if isinstance(reply, str) else reply
    counts = answer.usage.prompt_tokens, answer.usage.completion_tokens
    packed, until_ms = pack(answer), now_ms + 3_600_000
    return Entry(b"k" * 32, TENANT, WHO.provider, WHO.model, now_ms, until_ms, answer.cost_nano, *counts, packed)


def asked_of(call: Call) -> str:
    """Return the last message."""
    return text_of(call.messages[-1].content)


class PlainCrafts:
    """Know trades that are easily told apart (port `crafts.Crafts`): a node is asked `ID(what it depends on said)`."""

    def brief(self, task: Task, window: int) -> Brief:
        """Ask with everything that was said."""
        said = ",".join(task.runs[need].text for need in task.node.depends_on)
        wanted = Format("json") if task.node.type == "review" else None
        most = task.node.max_tokens or window
        return Brief((Message("user", f"{task.node.id}({said})"),), most, wanted)

    async def inspect(self, files: Sequence[File]) -> Inspection:
        """Find broken whatever says so."""
        broken = tuple(file.path for file in files if "broken" in file.content)
        report = Raw(msgspec.json.encode({"broken": broken}))
        return Inspection(report, 100 - 50 * len(broken), broken)

    def repair(self, task: Task, broken: Sequence[File], inspection: Inspection, window: int) -> Brief:
        """Ask for the files by name."""
        paths = ",".join(file.path for file in broken)
        return Brief((Message("user", f"repair of {task.node.id}: {paths}"),), window)

    def review(self, task: Task, said: str, absent: str) -> Reviewed:
        """Repeat what was said."""
        if absent:
            return Reviewed(Raw(msgspec.json.encode({"verdict": "absent", "reason": absent})), f"No opinion: {absent}")
        return Reviewed(Raw(msgspec.json.encode({"verdict": said})))


class FixedReach:
    """Read as many tokens for everybody; tests change it."""

    tokens = 1000

    def window(self, submission: Submission, routing: RoutingWish) -> int:
        """Return it."""
        return self.tokens


class PlainDirectory:
    """Know keys and holders (the part of `Directory` that submitters need)."""

    def __init__(self) -> None:
        self.cards: dict[bytes, Standing] = {}
        self.known: dict[str, Holder] = {}

    async def find(self, digest: bytes) -> Standing | None:
        """Return a key's standing."""
        return self.cards.get(digest)

    async def holders(self, *names: str) -> tuple[Holder, ...]:
        """Return those known."""
        return tuple(self.known[name] for name in names if name in self.known)


class Engine:
    """Remember steps, as an engine does over deaths."""

    def __init__(self) -> None:
        self.done: dict[str, str] = {}
        self.reserved: list[str] = []

    def of(self, work_id: str, life: Life) -> "EngineSteps":
        """Return the steps of one taking-up."""
        return EngineSteps(self, work_id, life)


class EngineSteps:
    """Give out steps (port `Steps`)."""

    def __init__(self, engine: Engine, work_id: str, life: Life) -> None:
        self._engine, self._work_id, self._life = engine, work_id, life

    def reserve(self, name: str) -> "EngineStep":
        """Return the next."""
        self._engine.reserved.append(name)
        return EngineStep(self._engine, f"{self._work_id}/{name}", self._life)


class EngineStep:
    """Do once (port `Step`)."""

    def __init__(self, engine: Engine, key: str, life: Life) -> None:
        self._engine, self._key, self._life = engine, key, life

    async def run(self, work: Callable[[], Awaitable[str]]) -> str:
        """Do it, unless it was."""
        if self._key in self._engine.done:
            return self._engine.done[self._key]
        result = await work()
        await self._life.point()
        self._engine.done[self._key] = result
        await self._life.point()
        return result


class Saved:
    """Note what was booked as resumed (port `run.Savings`)."""

    def __init__(self) -> None:
        self.booked: list[str] = []

    async def resumed(self, submission: Submission, run: NodeRun) -> None:
        """Note it."""
        self.booked.append(run.node)


class WorkflowWorld:
    """Everything that outlives a process, and the processes."""

    def __init__(self, script: Script) -> None:
        self.clock = LoopClock()
        self.store = MemoryExecutions()
        self.store.now_ms = self.clock.wall_ms
        self.road = ScriptedRoad(script)
        self.engine = Engine()
        self.saved = Saved()
        self.notes = Notes()
        self.directory: Any = PlainDirectory()
        self.crafts = PlainCrafts()
        self.reach = FixedReach()
        self.dice = 0.0

    def runs(self, life: Life | None = None) -> Runs:
        """Start a process."""
        life = life or Life()
        scribe = Scribe(Guarded(self.store, life))
        submitters = Submitters(self.directory, self.clock)
        asking = Asking(self.road.of(life), submitters, self.clock, lambda: self.dice)
        tools = Tools(asking, self.crafts, self.reach, NATIVE)
        codecs = {"/llm/generate": NATIVE}
        return Runs(House(scribe, tools, codecs, self.saved, self.clock, self.notes, TIMEOUT_S))

    async def submit(self, submission: Submission) -> Execution:
        """Submit."""
        (execution,) = await self.store.submit([submission])
        return execution

    async def run(self, id: str = "e1", life: Life | None = None) -> Execution:
        """Take it up in a process of its own, and return how it stands after that."""
        life = life or Life()
        rooms = [Room(queue, 100) for queue in QUEUES]
        await self.store.claim(rooms, "w1", self.clock.wall_ms())
        work_id = f"{id}.{self.store.rows[id].round}"
        await self.runs(life).run(work_id, self.engine.of(work_id, life))
        return self.store.rows[id]

    async def do(self, *nodes: Node, **more: Any) -> Execution:
        """Submit a graph, and run it."""
        await self.submit(workflow(*nodes, **more))
        return await self.run()

    def node(self, node: str, id: str = "e1") -> NodeRun:
        """Return a node's row."""
        return self.store.runs[id][node]

    def statuses(self, id: str = "e1") -> dict[str, str]:
        """Return how all nodes are."""
        return {node: run.status for node, run in self.store.runs[id].items()}

    def events(self, kind: str, id: str = "e1") -> list[dict[str, Any]]:
        """Return what events of a kind say."""
        return [msgspec.json.decode(event.data) for event in self.store.told[id] if event.kind == kind]


def workflow(*nodes: Node, id: str = "e1", **more: Any) -> Submission:
    """Submit a graph."""
    work = Raw(msgspec.json.encode(WorkflowWork(Graph(nodes))))
    plain = Submission(
        id,
        "workflow",
        "workflows",
        "custom",
        work,
        Submitter("addr:127.0.0.1", TENANT),
        0,
        door="execute",
        request_id="r1",
    )
    return replace(plain, **more)


def node(id: str, *needs: str, type: Any = "build", **more: Any) -> Node:
    """Make a node."""
    return Node(id, type, depends_on=needs, **more)


def echo(paid: Paid) -> str:
    """Say what is asked."""
    return f"<{asked_of(paid.call)}>"


def file_block(path: str, content: str) -> str:
    """Write a file as models do."""
    return f"```python {path}\n{content}\n```\n"


def card(digest: bytes = b"d", **more: Any) -> Standing:
    """Make a key's standing."""
    return Standing(KeyCard("k1", digest, "ask_", "name", TENANT, **more))
