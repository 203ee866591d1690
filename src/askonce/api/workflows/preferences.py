"""What a caller wants to wait for: `wait` in the body, or the header `Prefer` (RFC 7240). The body wins."""

import re
from collections.abc import Iterator

from msgspec import Struct

from askonce.api.replies import Headers
from askonce.domain.errors import Detail, Invalid

# As long as one call of a provider may take unless configured; proxies give up earlier. The run goes on.
LONGEST_S = 600

_WAIT = re.compile(r"[0-9]{1,9}")


class Patience(Struct, frozen=True):
    """Hold how long a caller waits for the end (seconds, 0: not at all), and what of its preferences that is."""

    seconds: int
    applied: Headers = []


def read_patience(body: bool | None, header: str | None, default: bool) -> Patience:
    """Return how long is waited. `default`: is it waited where nobody says? Raises `Invalid` for a wait of no number.

    `Prefer: wait=N` waits N seconds at the most; `respond-async` alone does not wait.
    """
    told = dict(_preferences(header or ""))
    wait_s = _seconds(told.get("wait"))
    is_async = "respond-async" in told
    if body is False:
        return Patience(0, _applied("respond-async") if is_async else [])
    if body is None and wait_s is None and (is_async or not default):
        return Patience(0, _applied("respond-async") if is_async else [])
    if wait_s is None:
        return Patience(LONGEST_S)
    seconds = min(wait_s, LONGEST_S)
    return Patience(seconds, _applied(f"wait={seconds}"))


def _preferences(header: str) -> Iterator[tuple[str, str]]:
    """Read what is preferred, the last one first: of the same preference twice the first counts (RFC 7240, 2)."""
    for part in reversed(header.split(",")):
        name, _, value = part.partition(";")[0].partition("=")
        if name.strip():
            yield name.strip().lower(), value.strip().strip('"')


def _seconds(text: str | None) -> int | None:
    if text is None:
        return None
    if _WAIT.fullmatch(text) is None:
        problem = "wait must be a whole number of seconds, such as wait=30"
        raise Invalid(f"The header Prefer: {problem}.", details=[Detail("Prefer", problem)])
    return int(text)


def _applied(preference: str) -> Headers:
    return [(b"preference-applied", preference.encode())]
