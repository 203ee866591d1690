"""A question in the background: the body of a door that asks, answered as that door answers.

It is an execution with one node, `answer`, whose report is the reply's body, so that a death between the answer and
the execution's end asks nothing again.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from askonce.domain.call import CacheWish, Candidate
from askonce.domain.clock import Clock
from askonce.domain.errors import Invalid
from askonce.domain.executions import Submission
from askonce.domain.graph import Node
from askonce.domain.tracing import work_span_id
from askonce.routing.explain import explanation
from askonce.wire.door import Codec, Facts
from askonce.workflows.asking import Answered, Asking, Question
from askonce.workflows.node import Decided, Job, Made, Pen

ANSWER = "answer"
GENERATE = "/llm/generate"


class _Addressed(Struct, frozen=True, forbid_unknown_fields=True):
    """Hold a body with the door that it is for; a bare body is for `/llm/generate`."""

    url: str
    body: Raw


def answer_node(submission: Submission) -> Node:
    """Return the one node of such an execution."""
    return Node(ANSWER, "build", retries=max(0, submission.attempts - 1))


class Answering:
    """Ask one question (port `node.Work`)."""

    def __init__(self, asking: Asking, codecs: Mapping[str, Codec], job: Job, clock: Clock) -> None:
        self._asking = asking
        self._codecs = codecs
        self._job = job
        self._clock = clock

    def decide(self) -> Decided:
        """Decide nothing."""
        return Decided()

    async def make(self, pen: Pen, decided: Decided) -> Made:
        """Ask, and render the reply. Raises what the job fails with."""
        job, submission = self._job, self._job.submission
        url, body = addressed(submission.work)
        codec = self._codecs.get(url)
        if codec is None:
            raise Invalid(f"Nothing is asked at {url[:100]!r} in the background.")
        began_ms = self._clock.wall_ms()
        ask = codec.read(body, submission.submitter.tenant, CacheWish())
        ask = replace(ask, call=replace(ask.call, stream=ask.call.kind == "chat"))
        name = f"{submission.id}/{job.node.id}"
        span = work_span_id(submission.id, job.turn.round)
        question = Question(ask, codec, submission, name, job.node.attempts, pen.run.started_ms, job.until_ms, span)
        answered = await self._asking.answer(question, pen)
        facts = self._facts(submission, answered, began_ms)
        if url == GENERATE:
            facts = replace(facts, explanation=_explained(answered))
        reply = codec.render(answered.entry, facts)
        return Made(answered.answer.text, report=Raw(reply), answer=answered.answer)

    def _facts(self, submission: Submission, answered: Answered, began_ms: int) -> Facts:
        now_ms, entry = self._clock.wall_ms(), answered.entry
        age_s = max(0, now_ms - entry.stored_ms) // 1000 if answered.state == "hit" else 0
        return Facts(
            answered.state,
            age_s,
            max(0, now_ms - began_ms),
            submission.request_id or submission.id,
            answered.ask,
            entry.provider,
            entry.model,
            now_ms=now_ms,
        )


def addressed(work: Raw) -> tuple[str, bytes]:
    """Return the door that a job's body is for, and the body."""
    try:
        found = msgspec.json.decode(work, type=_Addressed)
    except msgspec.ValidationError:
        return GENERATE, bytes(work)
    return found.url, bytes(found.body)


def _explained(answered: Answered) -> str:
    entry, ask = answered.entry, answered.ask
    limit = ask.routing.max_cost_nano
    over = limit is not None and answered.cost_nano > limit
    who = Candidate(entry.provider, entry.model)
    return explanation(answered.route, who, answered.attempts, answered.cost_nano if over else None)
