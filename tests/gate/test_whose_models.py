"""What a key may ask: decided before the look-up, so that a stored answer is no way around it."""

import pytest
from tests.gate.gate_world import TENANT, Vendor, World, play, question, start

from askonce.domain.call import Ask, Candidate
from askonce.domain.caller import Caller
from askonce.domain.errors import Forbidden, ProviderFailed
from askonce.domain.identity import KeyCard, Standing
from askonce.gate.dispatch import Outlets
from askonce.gate.pipeline import NOT_ITS_TO_ASK
from askonce.routing.route import Considered, Route

A, B = Candidate("a", "m"), Candidate("b", "m")


class Both:
    def route(self, ask: Ask) -> Route:
        return Route("heuristic", (A, B), (Considered(A), Considered(B)))

    async def afford(self, ask: Ask, route: Route) -> Route:
        return route


def holder(*, models: tuple[str, ...] = (), providers: tuple[str, ...] = ()) -> Caller:
    card = KeyCard("k1", b"", "", "", TENANT, models=models, providers=providers)
    return Caller("key:k1", TENANT, "k1", standing=Standing(card))


def pair() -> tuple[World, Vendor, Vendor]:
    a, b = Vendor("a"), Vendor("b")
    return World(outlets=Outlets({"a": (a,), "b": (b,)}), router=Both()), a, b


def test_only_what_a_key_may_ask_is_asked_even_where_it_fails() -> None:
    async def main() -> None:
        world, a, b = pair()
        client = start(world.ask(question(), holder(providers=("b",))))
        (await b.call()).fail(ProviderFailed("Down.", retry_after_s=9))
        with pytest.raises(ProviderFailed):
            await client
        assert a.lines == []
        await world.close()

    play(main())


@pytest.mark.parametrize("who", [holder(providers=("c",)), holder(models=("other-*",)), holder(models=("a:x",))])
def test_a_stored_answer_of_a_model_that_a_key_may_not_ask_is_not_its_to_have(who: Caller) -> None:
    async def main() -> None:
        world, a, _ = pair()
        client = start(world.ask(question()))
        (await a.call()).finish()
        await client
        with pytest.raises(Forbidden):
            await world.ask(question(), who)
        assert world.spared() == []
        await world.close()

    play(main())


def test_an_answer_of_a_provider_that_is_not_its_to_ask_is_not_found_for_another() -> None:
    async def main() -> None:
        world, a, b = pair()
        client = start(world.ask(question()))
        (await a.call()).finish()
        await client
        other = start(world.ask(question(), holder(providers=("b",))))
        (await b.call()).finish("from b")
        assert (await other).entry.provider == "b"
        await world.close()

    play(main())


def test_the_explanation_says_who_was_left_out() -> None:
    async def main() -> None:
        world, _, b = pair()
        seat = await world.set_out(question(), holder(models=("b:m",)))
        (await b.call()).finish()
        considered = seat.plan.route.considered  # type: ignore[union-attr]
        assert [(one.candidate, one.skipped) for one in considered] == [(A, NOT_ITS_TO_ASK), (B, "")]
        seat.leave()  # type: ignore[union-attr]
        await world.close()

    play(main())
