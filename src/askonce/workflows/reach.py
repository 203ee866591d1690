"""How much the model reads that a node is likely to ask: what its prompt is cut to.

A guess: by the time it asks, another may be preferred. Too long for that one, it is refused there (`ContextExceeded`).
"""

from typing import Protocol

from askonce.domain.call import Ask, CacheWish, Call, Message, Params, RoutingWish
from askonce.domain.errors import AskonceError
from askonce.domain.executions import Submission
from askonce.routing.route import Route

# Of a model that nothing is known of: what even small ones read by now.
ASSUMED_TOKENS = 16_384


class Router(Protocol):
    """Choose who may answer (`routing.router.Router`)."""

    def route(self, ask: Ask) -> Route:
        """Return candidates in order of preference. Raises the routing errors of `domain.errors`."""
        ...


class Windows(Protocol):
    """Know how much models read (`routing.roster.Lore`)."""

    def context_window(self, provider: str, model: str) -> int | None:
        """Return tokens; None where that is not known."""
        ...


class RoutedReach:
    """Look at whoever would be asked first (port `making.Reach`)."""

    def __init__(self, router: Router, windows: Windows) -> None:
        self._router = router
        self._windows = windows

    def window(self, submission: Submission, routing: RoutingWish) -> int:
        """Return the tokens that it reads; a guess where nobody can be asked now, which the road then says."""
        call = Call(submission.submitter.tenant, (Message("user", "…"),), Params(), stream=True)
        try:
            route = self._router.route(Ask(call, routing, CacheWish()))
        except AskonceError:
            return ASSUMED_TOKENS
        windows = [self._windows.context_window(one.provider, one.model) for one in route.candidates[:1]]
        return next((tokens for tokens in windows if tokens), ASSUMED_TOKENS)
