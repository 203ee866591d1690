"""Spans and moments as arguments: `30d`, `2026-11-01`, `2026-11-01T12:00+01:00`. Without a zone they are UTC."""

from datetime import UTC, datetime, timedelta

from askonce.cli.exits import Misused
from askonce.config.values import duration

SPAN_MAX_S = 100 * 365 * 86_400.0
_read_span = duration(0.0, SPAN_MAX_S)
_DATE_LETTERS = len("2026-11-01")


def span_ms(text: str, option: str) -> int:
    """Read a span such as `90`, `15m` or `30d`. Raises `Misused`."""
    try:
        return round(_read_span(text) * 1000)
    except ValueError:
        raise Misused(f"{option} {text}: a span such as 15m, 12h or 30d is needed.") from None


def end_ms(text: str, now_ms: int, option: str) -> int:
    """Read when something ends, as a span from now or as a moment; `never` is 0. Raises `Misused`."""
    if text.strip().lower() == "never":
        return 0
    if "-" in text:
        return moment_ms(text, option)
    return now_ms + span_ms(text, option)


def moment_ms(text: str, option: str) -> int:
    """Read a date or a moment. Raises `Misused`."""
    return _milliseconds(_read(text, option))


def day_end_ms(text: str, option: str) -> int:
    """Read the end of a range: a date means the whole day, a moment itself. Raises `Misused`."""
    moment = _read(text, option)
    if len(text.strip()) != _DATE_LETTERS:
        return _milliseconds(moment)
    try:
        return _milliseconds(moment + timedelta(days=1))
    except OverflowError:
        raise Misused(f"{option} {text}: the calendar ends there.") from None


def _read(text: str, option: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Misused(f"{option} {text}: a date such as 2026-11-01, or 2026-11-01T12:00, is needed.") from None


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
