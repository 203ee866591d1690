"""Write a line for what is worth one: calls that were paid, endings that could not be booked, defects."""

import asyncio
import math
import random
from collections import OrderedDict
from collections.abc import Callable

import structlog
from msgspec import Struct
from msgspec.structs import asdict

from askonce.domain.errors import AskonceError, ProviderFailed, StoreUnavailable
from askonce.domain.ledger import CallRow
from askonce.domain.outcome import Spared
from askonce.domain.watching import NO_COURSE, Course, Served, Worked

LATER_S = 0.005  # behind the answer, and so few at once that others do not wait for them
# Errors whose sentence ends in the vendor's own words, which may quote the prompt.
_QUOTING = frozenset({ProviderFailed.code})
COURSES_MAX = 256  # of slow calls whose requests are still being answered
_SOON_US = 50_000  # a request ends a little after its call was settled
WAITING_MAX = 256  # written at once when there are so many

_log = structlog.get_logger("askonce")

Stages = tuple[tuple[str, int], ...]


class Worth(Struct, frozen=True):
    """Say which requests are worth a line besides paid calls and errors: a share (0 to 1) of them all, and slow ones.

    `slow_s`: those that take longer; 0: none is slow. `followed`: doors whose replies are meant to last.
    """

    share: float = 0.0
    slow_s: float = 0.0
    followed: frozenset[str] = frozenset()


class RequestLog:
    """Observe endings and log them (port `Observer`). Hits are counted in the books and logged by sample.

    Lines of paid calls are written a moment later, so that their answers need not wait for them; `flush` writes them
    now. A process that is killed loses the last of them, but nothing of the books.
    """

    def __init__(self, worth: Worth = Worth(), dice: Callable[[], float] = random.random) -> None:  # noqa: B008 - frozen
        self._waiting: list[CallRow] = []
        self._share, self._dice = worth.share, dice
        self._followed = worth.followed
        self._slow_us = worth.slow_s * 1_000_000 or math.inf
        self._stages: OrderedDict[str, Stages] = OrderedDict()

    def served(self, served: Served) -> None:
        """Log a request that was slow, with its timeline where it led to a paid call, and some of the others."""
        if served.took_us > self._slow_us and served.door not in self._followed:
            passed = self._stages.pop(served.request_id, ())
            stages = {"stages_ms": {name: us / 1000 for name, us in passed}} if passed else {}
            _log.warning("slow_request", **_fields(served), **stages)
        elif self._share and self._dice() < self._share:
            _log.info("request", **_fields(served))

    def paid(self, row: CallRow, course: Course = NO_COURSE) -> None:
        """Log a call that reached a provider."""
        if course.settled_us > self._slow_us - _SOON_US:
            self._stages[row.origin.request_id] = course.stages()
            if len(self._stages) > COURSES_MAX:
                self._stages.popitem(last=False)  # of a caller who left, or of a workflow's step
        self._waiting.append(row)
        if row.ending != "answered":
            self.flush()  # rare, and wanted most where things go wrong
        elif len(self._waiting) == 1:
            try:
                asyncio.get_running_loop().call_later(LATER_S, self.flush)
            except RuntimeError:  # outside of a loop nothing is in a hurry
                self.flush()
        elif len(self._waiting) >= WAITING_MAX:
            self.flush()

    def flush(self) -> None:
        """Write the lines that wait."""
        waiting, self._waiting = self._waiting, []
        for row in waiting:
            _write(row)

    def worked(self, worked: Worked) -> None:
        """Log work in the background that has ended as a whole; nodes stand in its events."""
        if worked.node:
            return
        write = _log.warning if worked.status == "failed" else _log.info
        submission = worked.submission
        write(
            "execution",
            execution_id=submission.id,
            kind=submission.kind,
            name=submission.name,
            status=worked.status,
            **({"code": worked.code} if worked.code else {}),
            request_id=submission.request_id,
            tenant=submission.submitter.tenant,
            took_ms=max(0, worked.ended_ms - worked.began_ms),
            cost_nano=worked.cost_nano,
            saved_nano=worked.saved_nano,
        )

    def unbooked(self, ending: CallRow | Spared, error: StoreUnavailable) -> None:
        """Log an ending in full that the books did not take, so that it can be added by hand."""
        _log.error("not_booked", kind=type(ending).__name__, reason=error.message, **asdict(ending))

    def failed(self, error: AskonceError) -> None:
        """Log a request that ended with an error that is not its caller's."""
        said = {} if error.code in _QUOTING else {"reason": error.message}
        _log.warning("request_failed", status=error.status, code=error.code, **said)

    def defect(self, error: BaseException) -> None:
        """Log an error that nobody expected, with its traceback."""
        _log.error("defect", exc_info=error)


def _fields(served: Served) -> dict[str, object]:
    """Return what a line says of a request, by the names that the ledger uses; what is not known is left out."""
    fields: dict[str, object] = {
        "request_id": served.request_id,
        "tenant": served.tenant,
        "key_id": served.key_id,
        "door": served.door,
        "status": served.status,
        "code": served.code,
        "cache": served.cache,
        "provider": served.provider,
        "model": served.model,
        "took_ms": served.took_us / 1000,
        "entered_ms": served.entered_us / 1000,
        "saved_nano": served.saved_nano,
    }
    return {name: value for name, value in fields.items() if value != "" and (value or name == "took_ms")}


def _write(row: CallRow) -> None:
    write = _log.info if row.ending == "answered" else _log.warning
    write(
        "provider_call",
        request_id=row.origin.request_id,
        tenant=row.origin.tenant,
        **({"key_id": row.origin.key_id} if row.origin.key_id else {}),
        door=row.origin.door,
        provider=row.provider,
        model=row.model,
        ending=row.ending,
        cost_nano=row.cost_nano,
        priced=row.priced,
        estimated=row.estimated,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        took_ms=row.took_ms,
        first_token_ms=row.first_token_ms,
        stored=row.stored,
        **({"code": row.error_code} if row.error_code else {}),
    )
