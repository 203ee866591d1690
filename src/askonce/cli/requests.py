"""`askonce requests`: single requests from the ledger, newest first, or as they come."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

import typer
from msgspec import to_builtins
from msgspec.structs import replace

from askonce.api.admin.usage import request_line
from askonce.cli.apps import new_app
from askonce.cli.exits import Misused
from askonce.cli.moments import day_end_ms, moment_ms
from askonce.cli.office import ConfigOption, JsonOption, Office, SetOption, work
from askonce.cli.tables import lay_out, show, show_json
from askonce.domain.ledger import LedgerUnavailable
from askonce.domain.money import dollars
from askonce.domain.reports import KINDS, PAGE_MAX, Kind, Narrow, RequestPage, RequestQuestion, RequestRow

app = new_app()

LATE_MS = 10_000  # rows come into the ledger a moment after they ended, and not all in the order of their times
POLL_S = 1.0
NEVER_MS = 1 << 62
_HEAD = (
    "time (UTC)",
    "kind",
    "provider",
    "model",
    "tenant",
    "key",
    "tokens",
    "cost",
    "saved",
    "ms",
    "request",
    "error",
)
_RIGHT = frozenset({"tokens", "cost", "saved", "ms"})
# A line of its own is not laid out with others: widths that most values fit into.
_WIDTHS = (19, 10, 12, 24, 12, 10, 11, 9, 9, 7, 16, 0)


@app.command(name="requests")
def _requests(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on, and print each as it comes.")] = False,
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="How many of the latest.")] = 20,
    kind: Annotated[str, typer.Option(help=f"Kinds, by commas: {', '.join(KINDS)}.")] = "",
    from_: Annotated[str, typer.Option("--from", help="First day or moment (UTC).")] = "",
    to: Annotated[str, typer.Option(help="Last day, or the moment before which.")] = "",
    tenant: Annotated[str | None, typer.Option(help="This tenant only.")] = None,
    key: Annotated[str | None, typer.Option(help="This key (its id) only.")] = None,
    provider: Annotated[str | None, typer.Option(help="This provider only.")] = None,
    model: Annotated[str | None, typer.Option(help="This model only.")] = None,
    request_id: Annotated[str, typer.Option("--id", help="This request only.")] = "",
    error: Annotated[str, typer.Option(help="Those that ended with this error's code.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006 - typer's way to say: none
) -> None:
    """List requests that reached a provider, and samples of those that did not; the oldest of them first."""
    if follow and to:
        raise Misused("--follow and --to exclude each other.")
    question = RequestQuestion(
        Narrow(tenant, key, None, provider, model),
        read_kinds(kind),
        request_id,
        error,
        moment_ms(from_, "--from") if from_ else 0,
        day_end_ms(to, "--to") if to else NEVER_MS,
    )

    async def act(office: Office) -> None:
        rows = [row async for row in _latest(office, question, count)]
        rows.reverse()
        if not follow:
            _show(rows, as_json)
            return
        _print_each(rows, as_json)
        async for row in followed(office, question, rows):
            _print_each([row], as_json)

    work(act, config, set_)


def read_kinds(text: str) -> tuple[Kind, ...]:
    """Read kinds of requests. Raises `Misused`."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in KINDS:
            raise Misused(f"--kind {word}: there is no such kind; there are {', '.join(KINDS)}.")
    return tuple(kind for kind in KINDS if kind in words)


class Unseen:
    """Tell which rows were not there before. Rows have no number here, so alike ones are counted."""

    def __init__(self, start_ms: int) -> None:
        self._seen: Counter[RequestRow] = Counter()
        self.start_ms = start_ms  # rows from here on are looked at

    def of(self, rows: list[RequestRow]) -> list[RequestRow]:
        """Return those rows of a whole look that are new, the oldest first, and forget what is too old to come late."""
        looked = Counter(rows)
        fresh = sorted((looked - self._seen).elements(), key=lambda row: row.at_ms)
        newest = max((row.at_ms for row in rows), default=0)
        self.start_ms = max(self.start_ms, newest - LATE_MS)
        self._seen |= looked
        self._seen = Counter({row: times for row, times in self._seen.items() if row.at_ms >= self.start_ms})
        return fresh


async def followed(office: Office, question: RequestQuestion, shown: list[RequestRow]) -> AsyncIterator[RequestRow]:
    """Yield each row that comes in behind those shown, once. A database that is away is waited for."""
    newest = shown[-1:] or [row async for row in _latest(office, question, 1)]
    newest_ms = newest[0].at_ms if newest else 0
    unseen = Unseen(max(question.start_ms, newest_ms - LATE_MS))
    from_ms = shown[0].at_ms if shown else newest_ms + 1  # what is older was there before, and not asked for
    before = Counter(shown)
    while True:
        with suppress(LedgerUnavailable):
            look = replace(question, start_ms=unseen.start_ms)
            for row in unseen.of([row async for row in _latest(office, look, NEVER_MS)]):
                if before[row]:
                    before[row] -= 1
                elif row.at_ms >= from_ms:
                    yield row
            from_ms = 0
        await asyncio.sleep(POLL_S)


async def _latest(office: Office, question: RequestQuestion, count: int) -> AsyncIterator[RequestRow]:
    """Yield the latest rows, newest first, page by page."""
    after = ""
    while count > 0:
        page: RequestPage = await office.reports.requests(replace(question, after=after, size=min(count, PAGE_MAX)))
        for row in page.items:
            yield row
        count -= len(page.items)
        after = page.after
        if not after:
            return


def _show(rows: list[RequestRow], as_json: bool) -> None:
    if as_json:
        show_json([to_builtins(request_line(row)) for row in rows])
    else:
        show(lay_out(_HEAD, map(_cells, rows), _RIGHT))


def _print_each(rows: list[RequestRow], as_json: bool) -> None:
    """Print rows one by one, at once, so that a pipe gets them as they come."""
    for row in rows:
        if as_json:
            print(json.dumps(to_builtins(request_line(row)), ensure_ascii=False), flush=True)
        else:
            cells = (cell.ljust(width) for cell, width in zip(_cells(row), _WIDTHS, strict=True))
            show(" ".join(cells).rstrip())


def _cells(row: RequestRow) -> tuple[str, ...]:
    at = datetime.fromtimestamp(row.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    tokens = f"{row.prompt_tokens}+{row.completion_tokens}{'~' if row.estimated else ''}"
    return (
        at, row.kind, row.provider or "-", row.model or "-", row.tenant, row.key_id or "-", tokens,
        dollars(row.cost_nano), dollars(row.saved_nano), str(row.took_ms), row.request_id or "-", row.error_code or "-",
    )  # fmt: skip
