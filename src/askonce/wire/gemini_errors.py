"""Google's error bodies, read: `google.rpc.Status` as JSON. Pure.

The format is Google's "API design guide", Errors (AIP-193): `{"error": {"code", "message", "status", "details"}}`,
where a detail names its type in `@type`: `ErrorInfo` a reason, `RetryInfo` a delay such as `34.07s`, `QuotaFailure`
what was used up. A stream that is refused sends the same object, or a list that holds it.
"""

import math
from typing import Any

import msgspec
from msgspec import Struct

MAX_DELAY_S = 24 * 3600  # no window of Google's is longer than a day


class Trouble(Struct, frozen=True):
    """Hold what an error says: its status word, `ErrorInfo`'s reasons, the delay asked for, in whole seconds.

    `daily`: a quota of the day is used up, for which Google nevertheless names a delay of seconds.
    """

    code: int = 0
    status: str = ""
    reasons: frozenset[str] = frozenset()
    retry_after_s: int | None = None
    daily: bool = False


def read_trouble(body: bytes) -> Trouble | None:
    """Read an error's body; None where it is none."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if isinstance(value, list) and value:
        value = value[0]
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict):
        return None
    said = error.get("details")
    details = [detail for detail in said if isinstance(detail, dict)] if isinstance(said, list) else []
    return Trouble(
        code=code if isinstance(code := error.get("code"), int) else 0,
        status=status if isinstance(status := error.get("status"), str) else "",
        reasons=frozenset(reason for detail in details if isinstance(reason := detail.get("reason"), str)),
        retry_after_s=_delay_s(details),
        daily=any("PerDay" in quota for detail in details for quota in _quotas(detail)),
    )


def _delay_s(details: list[dict[str, Any]]) -> int | None:
    """Read a protobuf duration, rounded up to whole seconds."""
    word = next((delay for detail in details if isinstance(delay := detail.get("retryDelay"), str)), "")
    try:
        seconds = float(word.removesuffix("s"))
    except ValueError:
        return None
    return min(max(math.ceil(seconds), 0), MAX_DELAY_S) if math.isfinite(seconds) else None


def _quotas(detail: dict[str, Any]) -> list[str]:
    violations = detail.get("violations")
    rows = violations if isinstance(violations, list) else []
    return [quota for row in rows if isinstance(row, dict) and isinstance(quota := row.get("quotaId"), str)]
