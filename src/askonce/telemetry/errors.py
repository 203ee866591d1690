"""Tell Sentry of what nobody expected: defects, and endings that could not be booked.

Sent are the kind of the error and where it came from, our version, the request's id; never the values of variables, and
no message that could quote a caller: an exception's own words only where they are ours or the operating system's. The
log has the rest, under the same request id. Sending is sentry-sdk's, in a thread with a bounded queue; a Sentry that is
away costs its events and nothing else.
"""

import logging
import time
import traceback
from pathlib import Path
from typing import Any

import sentry_sdk
from msgspec import Struct
from sentry_sdk.transport import Transport
from sentry_sdk.types import Event, Hint
from sentry_sdk.utils import event_from_exception

from askonce import __version__
from askonce.domain.errors import AskonceError, ProviderFailed, StoreUnavailable
from askonce.domain.ledger import CallRow
from askonce.domain.outcome import Spared
from askonce.domain.watching import Course, Served, Worked
from askonce.telemetry.logs import redact, request_id

FLUSH_S = 2.0
EVENTS_PER_MINUTE = 30  # of one process: a storm of the same defect is told by its first events
WITHHELD = "(the log has the message, under the request id)"
# What may stand in an exception's message: nothing of a caller's.
_OWN_WORDS = (AskonceError, OSError, MemoryError, RecursionError, TimeoutError, NotImplementedError)
_QUOTING = (ProviderFailed, UnicodeError)
_SOURCE = Path(__file__).parents[1]
# What the client adds of its own that nobody needs, or that could hold something of a caller's.
_UNWANTED = ("request", "user", "breadcrumbs", "extra", "modules")

_log = logging.getLogger("askonce.telemetry")


class Destination(Struct, frozen=True):
    """Say where errors are sent: the project's DSN, the name of this installation, of this node and of this process."""

    dsn: str
    environment: str
    node: str
    process: str


class ErrorTracking:
    """Observe defects and send them (port `Observer`). To be closed. Raises `BadDsn` of sentry-sdk."""

    def __init__(self, to: Destination, transport: Transport | None = None) -> None:
        self._process = to.process
        self._client = sentry_sdk.Client(
            dsn=to.dsn,
            environment=to.environment,
            release=f"askonce@{__version__}",
            server_name=to.node,
            transport=transport,
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,
            max_request_body_size="never",
            max_breadcrumbs=0,
            auto_session_tracking=False,
            send_client_reports=False,
            shutdown_timeout=FLUSH_S,
            before_send=_scrubbed,
        )
        self._scope = sentry_sdk.Scope(client=self._client)
        self._minute, self._sent, self._held = 0, 0, 0

    def served(self, served: Served) -> None:
        """Leave it: what went wrong is told by itself."""

    def paid(self, row: CallRow, course: Course) -> None:
        """Leave it: a vendor's failure is no defect of ours."""

    def failed(self, error: AskonceError) -> None:
        """Leave it: it was expected, and the caller was told."""

    def worked(self, worked: Worked) -> None:
        """Leave it: what is a defect is told by itself."""

    def unbooked(self, ending: CallRow | Spared, error: StoreUnavailable) -> None:
        """Send that something was not booked; what it was stands in the log."""
        event, hint = event_from_exception(error, client_options=self._client.options)
        event["tags"] = {"kind": type(ending).__name__.lower()}
        event["fingerprint"] = ["unbooked", type(ending).__name__]
        event["transaction"] = "not_booked"
        self._send(event, hint)

    def defect(self, error: BaseException) -> None:
        """Send an error that nobody expected."""
        event, hint = event_from_exception(error, client_options=self._client.options)
        event["fingerprint"] = ["defect", type(error).__name__, place_of(error)]
        event["transaction"] = place_of(error)
        self._send(event, hint)

    def died(self, process: str, ending: str) -> None:
        """Send that a process ended that should not have; `ending` is its exit code, or the signal's name."""
        event: Event = {
            "level": "error",
            "message": f"{process} ended unexpectedly: {ending}",
            "tags": {"died": process, "ending": ending},
            "fingerprint": ["died", process.rstrip(" 0123456789"), ending],
            "transaction": "supervisor",
        }
        self._send(event, {})

    def close(self) -> None:
        """Send what is left, for at most `FLUSH_S`. Blocks."""
        self._client.close(timeout=FLUSH_S)

    def _send(self, event: Event, hint: Hint) -> None:
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._sent, held, self._held = minute, 0, self._held, 0
            if held:
                _log.warning("%d errors of the last minute were not sent to Sentry: it has the first ones", held)
        if self._sent >= EVENTS_PER_MINUTE:
            self._held += 1
            return
        self._sent += 1
        tags: dict[str, Any] = {"process": self._process, **(event.get("tags") or {})}
        if request_id.get():
            tags["request_id"] = request_id.get()
        event["tags"] = tags
        self._client.capture_event(event, hint, self._scope)


def place_of(error: BaseException) -> str:
    """Return where in our own code an error came from, such as `gate.relay.fly`; the outermost place if in none."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_SOURCE)]
    for frame in [*reversed(ours), *frames[:1]]:
        path = Path(frame.filename)
        where = path.relative_to(_SOURCE) if path.is_relative_to(_SOURCE) else Path(path.name)
        return ".".join((*where.with_suffix("").parts, frame.name))
    return "unknown"


def _scrubbed(event: Event, hint: Hint) -> Event | None:
    """Take out whatever could hold something of a caller's."""
    for name in _UNWANTED:
        event.pop(name, None)  # type: ignore[misc]
    error: BaseException | None = (hint.get("exc_info") or (None, None, None))[1]
    chain = {id(one): one for one in _chain(error)}
    words = {(type(one).__name__, str(one)) for one in chain.values() if _is_harmless(one)}
    for told in (event.get("exception") or {}).get("values") or ():
        said = (told.get("type"), told.get("value"))
        told["value"] = redact(None, "", {"value": told.get("value") or ""})["value"] if said in words else WITHHELD
        told.pop("mechanism", None)
        for frame in (told.get("stacktrace") or {}).get("frames") or ():
            frame.pop("vars", None)
    return event


def _is_harmless(error: BaseException) -> bool:
    return isinstance(error, _OWN_WORDS) and not isinstance(error, _QUOTING)


def _chain(error: BaseException | None) -> list[BaseException]:
    """Return an error, what it came of, and what it holds."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is None or any(one is known for known in found):
            continue
        found.append(one)
        waiting += [one.__cause__, one.__context__]
        waiting += list(one.exceptions) if isinstance(one, BaseExceptionGroup) else []
    return found
