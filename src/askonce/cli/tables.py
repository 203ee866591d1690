"""Tables and moments for people."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from askonce.cli.terminal import harmless

_GAP = "  "


def lay_out(head: Sequence[str], rows: Iterable[Sequence[str]], right: frozenset[str] = frozenset()) -> str:
    """Write a table with aligned columns; those named in `right` stand at the right of theirs."""
    lines = [tuple(head), *(tuple(" ".join(harmless(cell).split()) for cell in row) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    aligned = [name in right for name in head]
    return "\n".join(
        _GAP.join(
            cell.rjust(width) if at_right else cell.ljust(width)
            for cell, width, at_right in zip(line, widths, aligned, strict=True)
        ).rstrip()
        for line in lines
    )


def show_json(value: object) -> None:
    """Print JSON."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def show(text: str) -> None:
    """Print text for people; on a terminal without what would steer it."""
    print(harmless(text) if sys.stdout.isatty() else text)


def moment(epoch_ms: int, never: str = "never") -> str:
    """Write a time to the minute, in UTC."""
    if not epoch_ms:
        return never
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
