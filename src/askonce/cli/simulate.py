"""`askonce simulate`: what a log of requests would have cost, before anything is installed or configured."""

import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, BinaryIO, TypeVar

import typer

from askonce.cli.apps import new_app
from askonce.cli.exits import CommandFailed, Misused
from askonce.config import values
from askonce.config.settings import RateLimit
from askonce.domain.clock import SystemClock
from askonce.providers.catalog import VENDORS
from askonce.providers.price_data import compile_table
from askonce.providers.prices import PriceBook
from askonce.simulation.reading import BODIES, TIMES, Reader
from askonce.simulation.replay import Plan
from askonce.simulation.report import as_json, remarks, table
from askonce.simulation.run import simulate

app = new_app()
_span = values.whole_duration(1, 3650 * 86_400)
_size = values.size(1 << 10, 1 << 50)
_MOST_PLANS = 24
_T = TypeVar("_T")


@app.command(name="simulate")
def _simulate(
    log: Annotated[Path, typer.Argument(help="JSON lines, the oldest first; - reads from standard input.")],
    ttl: Annotated[list[str], typer.Option(help="How long answers are kept; may be repeated.")] = ["1h"],  # noqa: B006
    size: Annotated[list[str], typer.Option(help="Room for answers; may be repeated.")] = ["2GiB"],  # noqa: B006
    limit: Annotated[str, typer.Option(help="Requests per caller, such as 20/60s; `off`: no limit.")] = "off",
    tenant_field: Annotated[
        str, typer.Option(help="Field of a line that says who shares answers, such as `team` or `metadata.team`.")
    ] = "",
    ignore: Annotated[
        list[str], typer.Option(help="Field that the log wrote beside a body's own; may be repeated.")
    ] = [],  # noqa: B006
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Replay a log of requests through the real cache and say what it would have saved.

    A line is a request as OpenAI, Anthropic or Askonce take it, by itself or inside what was logged around it: its
    time, `usage`, how long it took. Nothing is sent anywhere, no server and no settings are needed.
    """
    plans = _plans(ttl, size, limit)
    reader = Reader(PriceBook(compile_table(VENDORS, {}, int(time.time())), SystemClock()), tenant_field, ignore)
    try:
        with _opened(log) as lines:
            found = simulate(reader.read(lines), plans)
    except OSError as error:
        raise CommandFailed(f"{log} cannot be read: {error.strerror}.") from error
    told = reader.told
    if not told.requests:
        why = f" The first reasons: {'; '.join(told.reasons)}." if told.reasons else " It is empty."
        raise CommandFailed(
            f"{log} has no requests.{why} A line is a JSON object: a request's body, or one with the body as "
            f"{', '.join(BODIES)}, and its time as {', '.join(TIMES)}."
        )
    if json:
        print(as_json(told, found).decode())
        return
    print(f"{told.requests:,} requests\n\n{table(found)}")
    said = remarks(told, found)
    if said:
        print("\n" + "\n".join(said))


def _opened(log: Path) -> BinaryIO:
    return open(sys.stdin.fileno(), "rb", closefd=False) if str(log) == "-" else log.open("rb")


def _plans(ttl: list[str], size: list[str], limit: str) -> list[Plan]:
    spans = [_told("--ttl", _span, word) for word in ttl]
    sizes = [_told("--size", _size, word) for word in size]
    bound = _told("--limit", values.rate, limit)
    if len(spans) * len(sizes) > _MOST_PLANS:
        raise Misused(f"At most {_MOST_PLANS} combinations of --ttl and --size at once.")
    rate = bound or RateLimit(0, 60)
    pairs = itertools.product(spans, sizes)
    return [Plan(int(str(span)), int(str(room)), rate.requests, rate.span_s) for span, room in pairs]


def _told(option: str, read: Callable[[str], _T], word: str) -> _T:
    """Read an option's word as the setting of its kind is read."""
    try:
        return read(word)
    except ValueError as error:
        raise Misused(f"{option} {word}: must be {error}.") from None
