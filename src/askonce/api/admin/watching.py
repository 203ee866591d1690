"""The doors that show what happens: the overview, once and as it changes, and requests as they come."""

from collections import OrderedDict
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from askonce.api.admin.office import Clerk
from askonce.api.admin.overview import OverviewQuery, OverviewView, overview_view
from askonce.api.admin.screens import Screens, View
from askonce.api.admin.usage import request_line, request_question
from askonce.api.errands import Errand, Handler
from askonce.api.replies import Reply, StreamReply, nothing_held, stream_headers
from askonce.domain.reports import PAGE_MAX, RequestQuestion, RequestRow
from askonce.gate.scopes import visible_tenant
from askonce.wire import sse

KNOWN_MAX = 2_000  # rows that are remembered as told
HELD_MAX = 200  # of the latest, for readers that are late

_encoder = msgspec.json.Encoder()


def watching_handlers(clerk: Clerk, screens: Screens) -> dict[str, Handler]:
    """Return the handlers by their doors' names."""
    reading = _Reading(clerk)

    async def overview(errand: Errand) -> Struct:
        return await reading.overview(errand.query.range, _tenant(errand))

    async def overview_events(errand: Errand) -> Reply | StreamReply:
        name, tenant = errand.query.range, _tenant(errand)
        await clerk.offices.open()  # what cannot be read at all is refused, not waited for
        shown = _Shown()

        async def look() -> Sequence[bytes]:
            return shown.changed(_encoder.encode(await reading.overview(name, tenant)))

        return _stream(errand, screens, View(("overview", name, tenant), look))

    async def request_events(errand: Errand) -> Reply | StreamReply:
        question = request_question(errand, PAGE_MAX)
        tail = _Tail(clerk, question)
        await clerk.offices.open()
        return _stream(errand, screens, View(("requests", question), tail.look, HELD_MAX, from_now=True))

    return {"overview": overview, "overview_events": overview_events, "request_events": request_events}


def _tenant(errand: Errand) -> str | None:
    query: OverviewQuery = errand.query
    return visible_tenant(errand.caller.scopes, errand.caller.tenant, query.tenant) or None


def _stream(errand: Errand, screens: Screens, view: View) -> Reply | StreamReply:
    if errand.request.method == "HEAD":
        return Reply(200, stream_headers([]), b"")
    return StreamReply(stream_headers([]), screens.follow(view), nothing_held)


class _Reading:
    def __init__(self, clerk: Clerk) -> None:
        self._clerk = clerk

    async def overview(self, name: str, tenant: str | None) -> OverviewView:
        """Read an overview. Raises `LedgerUnavailable`."""
        now_ms = self._clerk.clock.wall_ms()
        told = await (await self._clerk.offices.open()).reports.overview(name, tenant, now_ms)  # type: ignore[arg-type]
        return overview_view(name, told, now_ms)


class _Shown:
    """Remember what was shown last, so that nothing is shown twice."""

    def __init__(self) -> None:
        self._last = b""

    def changed(self, document: bytes) -> Sequence[bytes]:
        if document == self._last:
            return ()
        self._last = document
        return (sse.encode("overview", document),)


class _Tail:
    """Find the rows that came since the last look. Of more than 200 in two seconds the newest are told."""

    def __init__(self, clerk: Clerk, question: RequestQuestion) -> None:
        self._clerk = clerk
        self._question = question
        self._known: OrderedDict[str, None] = OrderedDict()
        self._has_looked = False

    async def look(self) -> Sequence[bytes]:
        """Return them as events, oldest first. Raises `LedgerUnavailable`."""
        page = await (await self._clerk.offices.open()).reports.requests(self._question)
        new = [row for row in reversed(page.items) if row.id not in self._known]
        self._known.update((row.id, None) for row in new)
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        told = map(_event, new) if self._has_looked else ()
        self._has_looked = True
        return tuple(told)


def _event(row: RequestRow) -> bytes:
    return sse.encode("request", _encoder.encode(request_line(row)))
