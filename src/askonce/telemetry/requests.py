"""Write a line for what is worth one: calls that were paid, endings that could not be booked, defects."""

import asyncio

import structlog
from msgspec.structs import asdict

from askonce.domain.errors import AskonceError, ProviderFailed, StoreUnavailable
from askonce.domain.ledger import CallRow
from askonce.domain.outcome import Spared
from askonce.domain.watching import NO_COURSE, Course, Served

LATER_S = 0.005  # behind the answer, and so few at once that others do not wait for them
# Errors whose sentence ends in the vendor's own words, which may quote the prompt.
_QUOTING = frozenset({ProviderFailed.code})
WAITING_MAX = 256  # written at once when there are so many

_log = structlog.get_logger("askonce")


class RequestLog:
    """Observe endings and log them (port `Observer`). Hits are counted in the books and not logged.

    Lines of paid calls are written a moment later, so that their answers need not wait for them; `flush` writes them
    now. A process that is killed loses the last of them, but nothing of the books.
    """

    def __init__(self) -> None:
        self._waiting: list[CallRow] = []

    def served(self, served: Served) -> None:
        """Write nothing yet."""

    def paid(self, row: CallRow, course: Course = NO_COURSE) -> None:
        """Log a call that reached a provider."""
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
