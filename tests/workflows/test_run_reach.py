"""How much a node's model reads."""

import pytest
from tests.workflows.workflow_world import workflow

from askonce.domain.call import Ask, Candidate, RoutingWish
from askonce.domain.errors import UnknownModel
from askonce.routing.route import Route
from askonce.workflows.reach import ASSUMED_TOKENS, RoutedReach


class Two:
    """Prefer the named one, then a small one; know the windows of both."""

    def route(self, ask: Ask) -> Route:
        if ask.routing.model == "unknown":
            raise UnknownModel("Who?")
        return Route(ask.routing.mode, (Candidate("p", ask.routing.model or "big"), Candidate("p", "small")))

    def context_window(self, provider: str, model: str) -> int | None:
        return {"big": 100_000, "small": 2_048}.get(model)


@pytest.mark.parametrize(
    ("model", "tokens"), [(None, 100_000), ("small", 2_048), ("nameless", ASSUMED_TOKENS), ("unknown", ASSUMED_TOKENS)]
)
def test_it_is_as_much_as_whoever_is_asked_first_reads(model, tokens):
    assert RoutedReach(Two(), Two()).window(workflow(), RoutingWish("single-model", model)) == tokens
