"""`askonce usage`: what was asked, spent and saved, from the ledger's sums."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, get_args

import typer
from msgspec import to_builtins

from askonce.api.admin.usage import usage_csv, usage_view
from askonce.cli.apps import new_app
from askonce.cli.exits import Misused
from askonce.cli.moments import day_end_ms, moment_ms
from askonce.cli.office import ConfigOption, JsonOption, Office, SetOption, work
from askonce.cli.tables import lay_out, show, show_json
from askonce.domain.money import dollars
from askonce.domain.reports import Figures, Group, Narrow, UsageQuestion, UsageReport, UsageRow

app = new_app()

DAYS = 30  # that are reported on where nobody says from when
DAY_MS = 86_400_000
GROUPS: tuple[Group, ...] = get_args(Group)
TIMES = {"hour": "%Y-%m-%d %H:00", "day": "%Y-%m-%d", "month": "%Y-%m"}
_NUMBERS = ("requests", "hits", "hit rate", "joined", "paid", "failed", "refused", "tokens", "cost", "saved")


@app.command(name="usage")
def _usage(
    by: Annotated[str, typer.Option(help=f"Groups, by commas: {', '.join(GROUPS)}.")] = "",
    from_: Annotated[str, typer.Option("--from", help="First day or moment (UTC); else 30 days ago.")] = "",
    to: Annotated[str, typer.Option(help="Last day, or the moment before which; else now.")] = "",
    tenant: Annotated[str | None, typer.Option(help="This tenant only.")] = None,
    key: Annotated[str | None, typer.Option(help="This key (its id) only.")] = None,
    door: Annotated[str | None, typer.Option(help="This door only.")] = None,
    provider: Annotated[str | None, typer.Option(help="This provider only.")] = None,
    model: Annotated[str | None, typer.Option(help="This model only.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006 - typer's way to say: none
) -> None:
    """Report what was asked, spent and saved; days and months are those of UTC."""
    if as_csv and as_json:
        raise Misused("--csv and --json exclude each other.")
    groups = read_groups(by)
    narrow = Narrow(tenant, key, door, provider, model)

    async def ask(office: Office) -> UsageReport:
        end = day_end_ms(to, "--to") if to else office.clock.wall_ms()
        start = moment_ms(from_, "--from") if from_ else (end - DAYS * DAY_MS) // DAY_MS * DAY_MS
        if start >= end:
            raise Misused("--from lies behind --to.")
        return await office.reports.usage(UsageQuestion(start, end, groups, narrow))

    report = work(ask, config, set_)
    if as_json:
        show_json(to_builtins(usage_view(report, groups)))
    elif as_csv:
        print(usage_csv(report, groups).decode(), end="")
    else:
        show(table(report, groups))


def read_groups(text: str) -> tuple[Group, ...]:
    """Read the groups to report by. Raises `Misused`."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in GROUPS:
            raise Misused(f"--by {word}: there is no such group; there are {', '.join(GROUPS)}.")
    chosen = tuple(group for group in GROUPS if group in words)
    if sum(group in TIMES for group in chosen) > 1:
        raise Misused("--by takes one of hour, day and month.")
    return chosen


def table(report: UsageReport, groups: Sequence[Group]) -> str:
    """Lay a report out for people, its total at the end."""
    rows = [(*_named(row, groups, "-"), *_numbers(row.figures)) for row in report.rows]
    if not groups:
        rows = [_numbers(report.total)]
    elif len(rows) != 1:
        rows.append((*("total" if not place else "" for place in range(len(groups))), *_numbers(report.total)))
    laid_out = lay_out((*groups, *_NUMBERS), rows, frozenset(_NUMBERS))
    span = f"{_moment(report.start_ms)} to {_moment(report.end_ms)} UTC"
    cut = "\nThere are more groups than are shown; the total is of all of them." if report.cut else ""
    return f"{span}\n\n{laid_out}{cut}"


def hit_rate(figures: Figures) -> str:
    """Write the share of hits among hits and misses, as the statistics do."""
    asked = figures.hits + figures.misses
    return f"{100 * figures.hits / asked:.1f} %" if asked else "-"


def _named(row: UsageRow, groups: Sequence[Group], nothing: str = "") -> tuple[str, ...]:
    """Return what a row is of; `nothing` stands for no key, no provider."""
    names = {"key": "key_id"}
    return tuple(
        _moment(row.at_ms, TIMES[group]) if group in TIMES else (getattr(row, names.get(group, group)) or nothing)
        for group in groups
    )


def _numbers(figures: Figures) -> tuple[str, ...]:
    refused = figures.rate_limited + figures.over_budget + figures.unauthorized + figures.forbidden + figures.refused
    counts = (figures.failed + figures.abandoned, refused, figures.prompt_tokens + figures.completion_tokens)
    return (
        f"{figures.requests:,}",
        f"{figures.hits:,}",
        hit_rate(figures),
        f"{figures.coalesced + figures.resumed:,}",
        f"{figures.paid:,}",
        *(f"{number:,}" for number in counts),
        dollars(figures.cost_nano),
        dollars(figures.saved_nano),
    )


def _moment(epoch_ms: int, shape: str = "%Y-%m-%d %H:%M") -> str:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime(shape)
