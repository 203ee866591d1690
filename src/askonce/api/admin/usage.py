"""Reports: sums by whatever one likes, as JSON or CSV, and the requests behind them, page by page."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct, field

from askonce.api.admin.office import Clerk
from askonce.api.bodies import Body
from askonce.api.errands import Errand, Handler
from askonce.api.queries import chosen, moment
from askonce.api.replies import NO_STORE, Reply
from askonce.domain.errors import NotFound
from askonce.domain.money import dollars
from askonce.domain.reports import (
    KINDS,
    PAGE_MAX,
    Figures,
    Group,
    Kind,
    Narrow,
    RequestQuestion,
    RequestRow,
    Told,
    UsageQuestion,
    UsageReport,
    UsageRow,
)
from askonce.domain.stories import Story, read_story
from askonce.gate.scopes import visible_tenant

DAY_MS = 86_400_000
DEFAULT_DAYS = 30
GROUPS: tuple[Group, ...] = get_args(Group)
_CSV = (b"content-type", b"text/csv; charset=utf-8; header=present")
_FILE = (b"content-disposition", b'attachment; filename="askonce-usage.csv"')
# What a spreadsheet would take for a formula.
_FORMULA = re.compile(r"[=+\-@\t\r]")

_Word = Annotated[str, Meta(max_length=200)]
_Tenant = Annotated[str, Meta(max_length=64, description="of which tenant; root sees all without it")]
_Moment = Annotated[
    str, Meta(max_length=40, description="epoch milliseconds, 2026-01-31, or 2026-01-31T12:00:00Z; UTC without a zone")
]


class UsageQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Ask for sums. `by`: hour, day or month, and tenant, key, door, provider, model, separated by commas."""

    by: Annotated[_Word, Meta(description=f"separated by commas: {', '.join(GROUPS)}")] = ""
    start: Annotated[_Moment, Meta(description="the last 30 days without it")] = field(default="", name="from")
    to: _Moment = ""
    tenant: _Tenant = ""
    key: _Word = ""
    door: _Word = ""
    provider: _Word = ""
    model: _Word = ""
    format: Annotated[Literal["json", "csv"] | None, Meta(description="instead of the header Accept")] = None


class RequestsQuery(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Ask for requests, newest first. `kind`: several are separated by commas."""

    start: _Moment = field(default="", name="from")
    to: _Moment = ""
    tenant: _Tenant = ""
    key: _Word = ""
    door: _Word = ""
    provider: _Word = ""
    model: _Word = ""
    kind: Annotated[_Word, Meta(description=f"separated by commas: {', '.join(KINDS)}")] = ""
    request_id: _Word = ""
    error_code: _Word = ""
    after: Annotated[str, Meta(max_length=200, description="the page before's next")] = ""
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX, description="requests on a page")] = 50


class Sums(Body, frozen=True):
    """Hold sums; money exact in `…Nano`, and in dollars. Refusals are not among `requests`."""

    requests: int
    hits: int
    coalesced: int
    resumed: int
    misses: int
    uncached: int
    failed: int
    abandoned: int
    rate_limited: int
    over_budget: int
    unauthorized: int
    forbidden: int
    refused: int
    cost: str
    cost_nano: int
    saved: str
    saved_nano: int
    saved_exact_nano: int
    saved_coalesced_nano: int
    saved_resumed_nano: int
    saved_prompt_cache_nano: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    saved_tokens: int
    estimated: int
    unpriced: int
    latency_ms: int
    first_token_ms: int


class UsageLine(Sums, frozen=True):
    """Hold the sums of one group; what is not grouped by is empty. `at` is where its hour, day or month begins."""

    at: int = 0
    time: str = ""
    tenant: str = ""
    key: str = ""
    door: str = ""
    provider: str = ""
    model: str = ""


class UsageView(Body, frozen=True):
    """Answer with groups and the sums of all. `cut`: there are more groups than are told; `total` counts them too."""

    start: int = field(name="from")
    to: int
    by: tuple[Group, ...]
    rows: tuple[UsageLine, ...]
    total: Sums
    cut: bool


class RequestLine(Body, frozen=True):
    """Hold one request: of those that reached a provider all are here, of the others samples.

    `id` is the row's own; one request has as many rows as it made calls. `story` is how a paid call went on the road.
    """

    at: int
    tenant: str
    key: str
    user: str
    door: str
    request_id: str
    trace_id: str
    provider: str
    model: str
    model_version: str
    kind: Kind
    stored: bool
    cost_nano: int
    saved_nano: int
    saved_prompt_cache_nano: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    estimated: bool
    latency_ms: int
    first_token_ms: int
    error_code: str
    priced: bool
    cache_write_1h_tokens: int
    id: str
    story: Story | None


class RequestList(Body, frozen=True):
    """Hold a page of requests; `next` leads to the following page, null at the end."""

    requests: tuple[RequestLine, ...]
    next: str | None


class TextLine(Body, frozen=True):
    """Hold what one paid call asked and was answered, as JSON; `cut` where that ends in the middle."""

    at: int
    provider: str
    model: str
    question: str
    answer: str
    cut: bool


class TextList(Body, frozen=True):
    """Hold what a request's paid calls asked and were answered, oldest first."""

    request_id: str
    texts: tuple[TextLine, ...]


def report_handlers(clerk: Clerk) -> dict[str, Handler]:
    """Return the handlers by their doors' names."""

    async def usage(errand: Errand) -> Struct | Reply:
        question = _question(errand, clerk.clock.wall_ms())
        report = await (await clerk.offices.open()).reports.usage(question)
        if _wants_csv(errand):
            return Reply(200, [_CSV, _FILE, NO_STORE], usage_csv(report, question.by))
        return usage_view(report, question.by)

    async def requests(errand: Errand) -> Struct:
        page = await (await clerk.offices.open()).reports.requests(request_question(errand, errand.query.limit))
        return RequestList(tuple(map(request_line, page.items)), page.after or None)

    async def texts(errand: Errand) -> Struct:
        tenant = visible_tenant(errand.caller.scopes, errand.caller.tenant, "")
        found = await (await clerk.offices.open()).reports.texts(errand.key, tenant or None)
        if not found:
            raise NotFound(NO_TEXTS)
        await clerk.note(errand, "texts.read", f"request:{errand.key}", count=len(found), **_whose(found))
        lines = tuple(TextLine(one.at_ms, one.provider, one.model, one.question, one.answer, one.cut) for one in found)
        return TextList(errand.key, lines)

    return {"usage": usage, "requests": requests, "request_texts": texts}


def request_question(errand: Errand, size: int) -> RequestQuestion:
    """Read what requests are asked for. Raises `Invalid`, and `NotFound` for another tenant's."""
    query: RequestsQuery = errand.query
    return RequestQuestion(
        narrow=_narrow(errand),
        kinds=chosen("kind", query.kind, KINDS),
        request_id=query.request_id,
        error_code=query.error_code,
        start_ms=moment("from", query.start, 0),
        end_ms=moment("to", query.to, 1 << 62),
        after=query.after,
        size=size,
    )


def _whose(found: tuple[Told, ...]) -> dict[str, str]:
    """Say in whose trail it is to stand that texts were read: their owner's, whoever read them."""
    return {"tenant": found[0].tenant} if found[0].tenant else {}


NO_TEXTS = (
    "No texts are kept of a request of that id. They are of paid calls only, while ASKONCE_LOG_TEXTS is on, and for as "
    "long as ASKONCE_KEEP_TEXTS says."
)


def usage_view(report: UsageReport, by: tuple[Group, ...]) -> UsageView:
    """Show a report."""
    rows = tuple(_usage_line(row, by) for row in report.rows)
    return UsageView(report.start_ms, report.end_ms, by, rows, Sums(**_sums(report.total)), report.cut)


def usage_csv(report: UsageReport, by: tuple[Group, ...]) -> bytes:
    """Show a report's groups as CSV; without groups its total."""
    rows = report.rows if by else (UsageRow(report.total),)
    return write_csv(tuple(_usage_line(row, by) for row in rows), by)


def request_line(row: RequestRow) -> RequestLine:
    """Show a request."""
    renamed = {"at": "at_ms", "key": "key_id", "user": "user_id", "latency_ms": "took_ms"}
    values = {name: getattr(row, renamed.get(name, name)) for name in RequestLine.__struct_fields__}
    return RequestLine(**{**values, "story": read_story(row.story)})


def write_csv(lines: tuple[UsageLine, ...], by: tuple[Group, ...]) -> bytes:
    """Write rows under one line of names (RFC 4180); no cell is taken for a formula by a spreadsheet."""
    times = ("time",) if {"hour", "day", "month"} & set(by) else ()
    names = (*times, *(group for group in by if group not in ("hour", "day", "month")), *_SUMS)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_CAMEL[name] for name in names)
    for line in lines:
        writer.writerow(_cell(getattr(line, name)) for name in names)
    return text.getvalue().encode()


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


_SUMS = Sums.__struct_fields__
_CAMEL = dict(zip(UsageLine.__struct_fields__, UsageLine.__struct_encode_fields__, strict=True))


def _question(errand: Errand, now_ms: int) -> UsageQuestion:
    query: UsageQuery = errand.query
    by: tuple[Group, ...] = chosen("by", query.by, GROUPS)
    end_ms = moment("to", query.to, now_ms)
    return UsageQuestion(moment("from", query.start, end_ms - DEFAULT_DAYS * DAY_MS), end_ms, by, _narrow(errand))


def _narrow(errand: Errand) -> Narrow:
    """Look at what the caller may see; another tenant's is not there. Raises `NotFound`."""
    query, caller = errand.query, errand.caller
    tenant = visible_tenant(caller.scopes, caller.tenant, query.tenant)
    some = {name: getattr(query, name) or None for name in ("door", "provider", "model")}
    return Narrow(tenant or None, query.key or None, **some)


def _wants_csv(errand: Errand) -> bool:
    if errand.query.format is not None:
        return bool(errand.query.format == "csv")
    return b"text/csv" in errand.request.headers.get(b"accept", b"")


def _usage_line(row: UsageRow, by: tuple[Group, ...]) -> UsageLine:
    return UsageLine(
        **_sums(row.figures),
        at=row.at_ms,
        time=_time(row.at_ms, by),
        tenant=row.tenant,
        key=row.key_id,
        door=row.door,
        provider=row.provider,
        model=row.model,
    )


def _time(at_ms: int, by: tuple[Group, ...]) -> str:
    """Write a group's hour, day or month as people do."""
    forms = {"hour": "%Y-%m-%dT%H:00Z", "day": "%Y-%m-%d", "month": "%Y-%m"}
    form = next((forms[group] for group in by if group in forms), "")
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime(form) if form else ""


def _sums(figures: Figures) -> dict[str, Any]:
    return dict(_told(figures))


def _told(figures: Figures) -> Iterator[tuple[str, Any]]:
    """Name the sums as they are told. Times are means over paid calls, in whole milliseconds."""
    renamed = {"uncached": "uncounted"}
    made = {
        "cost": dollars(figures.cost_nano),
        "saved": dollars(figures.saved_nano),
        "latency_ms": figures.took_ms // figures.paid if figures.paid else 0,
        "first_token_ms": figures.first_token_ms // figures.first_tokens if figures.first_tokens else 0,
    }
    for name in _SUMS:
        yield name, made[name] if name in made else getattr(figures, renamed.get(name, name))
