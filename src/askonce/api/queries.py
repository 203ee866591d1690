"""What stands in query strings: lists of words, and moments."""

from datetime import UTC, datetime
from typing import Any

from askonce.domain.errors import Detail, Invalid


def chosen(name: str, text: str, known: tuple[Any, ...]) -> tuple[Any, ...]:
    """Read words separated by commas. Raises `Invalid` for one that is not known."""
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for word in words:
        if word not in known:
            problem = f"cannot be {word[:40]!r}: choose among {', '.join(known)}"
            raise Invalid(f"{name} {problem}.", details=[Detail(name, problem)])
    return words


def moment(name: str, text: str, default_ms: int) -> int:
    """Read a moment. Raises `Invalid`."""
    if not text:
        return default_ms
    try:
        if text.isascii() and text.isdigit():
            return min(int(text), 1 << 62)
        at = datetime.fromisoformat(text)
        return int((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        problem = f"cannot be {text!r}: give epoch milliseconds, 2026-01-31, or 2026-01-31T12:00:00Z"
        raise Invalid(f"{name} {problem}.", details=[Detail(name, problem)]) from None
