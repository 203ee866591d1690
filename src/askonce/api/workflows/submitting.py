"""Take work in: who asked, under which id, and whether this very request was here before.

A request that carries an `Idempotency-Key` has an id made of its caller and that name. So a retry finds what the first
one wrote, from any process, for as long as that is kept; the same name for other work is refused.
"""

import hashlib
import os

from msgspec import Raw, Struct
from msgspec.structs import replace

from askonce.api.requests import Request
from askonce.domain.caller import Caller
from askonce.domain.errors import KeyReused
from askonce.domain.executions import Execution, Executions, Kind, QueueName, Submission, Submitter, Urgency
from askonce.wire.retry_key import NAME, read_retry_key

ID_BYTES = 16  # nobody guesses one, and no two are alike
REUSED = (
    f"This {NAME} was used for other work. Send another key with it, or exactly the same work with this one, delay and "
    "webhook included."
)
# What of a submission is not the work: when and by which request it came.
_PASSING = ("created_ms", "not_before_ms", "submitter", "request_id", "trace_id", "traceparent")


class Order(Struct, frozen=True):
    """Hold work that was found right, apart from who wants it and when. `custom_id` is told back as its name."""

    kind: Kind
    queue: QueueName
    name: str
    work: Raw
    urgency: Urgency = "MEDIUM"
    delay_s: int = 0
    timeout_s: int = 0
    attempts: int = 1
    dedup: str = ""
    webhook: str = ""


class Sender(Struct, frozen=True):
    """Hold who sends work, through which door, and when (epoch milliseconds)."""

    caller: Caller
    request: Request
    door: str
    now_ms: int

    def retry_key(self) -> str:
        """Return the name that the request has for its caller, "" for none. Raises `Invalid`."""
        name = self.request.headers.get(b"idempotency-key")
        return "" if name is None else read_retry_key(name)

    def id(self, prefix: str, *, part: str = "") -> str:
        """Return an id for what is sent: the same for retries of one request. `part` tells parts of it apart."""
        name = self.retry_key()
        if not name:
            return f"{prefix}_{os.urandom(ID_BYTES).hex()}"
        told = "\0".join((self.caller.tenant, self.caller.identity, name, part))
        return f"{prefix}_{hashlib.sha256(told.encode()).digest()[:ID_BYTES].hex()}"


class Placed(Struct, frozen=True):
    """Hold what came of sent work. `is_replay`: this very request was here before. `is_double`: other work of the same
    `dedup` still lives, and is returned instead."""

    execution: Execution
    is_replay: bool = False
    is_double: bool = False


async def place(executions: Executions, order: Order, sender: Sender) -> Placed:
    """Write one piece of work. Raises `KeyReused`, `DatabaseAway`; if cancelled, it may be written."""
    submission = submission_of(order, sender, sender.id("exec"))
    (execution,) = await executions.submit([submission])
    return judged(submission, execution)


def submission_of(order: Order, sender: Sender, id: str) -> Submission:
    """Put work and sender together."""
    return Submission(
        id=id,
        kind=order.kind,
        queue=order.queue,
        name=order.name,
        work=order.work,
        submitter=submitter_of(sender.caller),
        created_ms=sender.now_ms,
        urgency=order.urgency,
        not_before_ms=sender.now_ms + 1000 * order.delay_s if order.delay_s else 0,
        timeout_s=order.timeout_s,
        attempts=order.attempts,
        dedup=order.dedup,
        webhook=order.webhook,
        door=sender.door,
        request_id=sender.request.id,
        trace_id=sender.request.trace_id(),
        traceparent=sender.request.traceparent(),
    )


def submitter_of(caller: Caller) -> Submitter:
    """Name a caller, so that the worker can ask in its name."""
    digest = b"" if caller.standing is None else caller.standing.card.digest
    return Submitter(caller.identity, caller.tenant, caller.key_id, caller.user_id, digest, caller.address)


def judged(wanted: Submission, found: Execution) -> Placed:
    """Say what the store's answer to a submission means. Raises `KeyReused`."""
    kept = found.submission
    if kept.id != wanted.id:
        return Placed(found, is_double=True)
    if kept == wanted:
        return Placed(found)
    if not _same_work(kept, wanted):
        raise KeyReused(REUSED)
    return Placed(found, is_replay=True)


def _same_work(kept: Submission, wanted: Submission) -> bool:
    passing = {name: getattr(wanted, name) for name in _PASSING}
    return replace(kept, **passing) == wanted and _delay_ms(kept) == _delay_ms(wanted)


def _delay_ms(submission: Submission) -> int:
    return max(0, submission.not_before_ms - submission.created_ms)
