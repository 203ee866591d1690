"""/metrics: for Prometheus, open like /health unless the owner says otherwise."""

from collections.abc import Awaitable, Callable

from askonce.api.replies import Reply
from askonce.api.requests import Request
from askonce.domain.errors import NotFound
from askonce.gate.admission import Admission
from askonce.gate.scopes import require

# Returns the page and its media type for the header Accept.
Page = Callable[[str], Awaitable[tuple[bytes, str]]]

OFF = "Metrics are switched off here: setting `metrics`."


class MetricsDoor:
    """Show the page to whom `who` allows: `open`, `key` (scope `report`) or `off`."""

    def __init__(self, page: Page, admission: Admission, who: str) -> None:
        self._page = page
        self._admission = admission
        self._who = who

    async def __call__(self, request: Request) -> Reply:
        """Answer a scrape. Raises `NotFound`, `Unauthorized` and `Forbidden`."""
        if self._who == "off":
            raise NotFound(OFF)
        if self._who == "key":
            caller = await self._admission.admit(request.approach(), writes=False)
            require(caller.scopes, "report")
        body, media = await self._page(request.text(b"accept") or "")
        return Reply(200, [(b"content-type", media.encode()), (b"cache-control", b"no-store")], body)
