"""Who is asked for embeddings, and who is not asked for words because it makes them."""

import asyncio
from collections.abc import Collection

import pytest
from tests.routing.routingworld import HandClock, TellLore

from askonce.domain.call import Ask, CacheWish, Call, Kind, Message, Params, RoutingMode, RoutingWish
from askonce.domain.errors import AskonceError, ContextExceeded, Invalid, ProviderNotConfigured, UnknownModel
from askonce.domain.money import Price
from askonce.routing.health import Health
from askonce.routing.roster import Group, Member, Roster, Share
from askonce.routing.route import Route
from askonce.routing.router import Router
from askonce.routing.wishes import unanswered

OPENAI = "set OPENAI_API_KEY"
MEMBERS = (
    Member("openai", "OpenAI", True, OPENAI, "gpt-5", ("gpt-5", "gpt-4o"), unfit=("text-3",)),
    Member("groq", "Groq", False, "set GROQ_API_KEY", "fast", ("fast",), unfit=("vec-9",)),
    Member("ollama", "Ollama", True, "", "llama", ("llama", "mine")),
    Member("local", "The embedded model", True, "", "qwen", ("qwen",), open_ended=False, stands_in=False),
)
EMBEDDERS = (
    Member("openai", "OpenAI", True, OPENAI, "", ("text-3",), stands_in=False, unfit=("gpt-5", "gpt-4o")),
    Member("groq", "Groq", False, "set GROQ_API_KEY", "", ("vec-9",), stands_in=False, unfit=("fast",)),
    Member("ollama", "Ollama", True, "", "", ("nomic",), stands_in=False, also=("llama", "mine")),
    Member("local", "The embedded model", True, open_ended=False, stands_in=False, unfit=("qwen",)),
)
ROSTER = Roster(
    MEMBERS,
    {"vectors": "openai:text-3", "talk": "gpt-4o"},
    "gpt-5",
    {"pair": Group((Share("text-3"), Share("ollama:nomic")), "order")},
    embedders=EMBEDDERS,
)
MODES: tuple[RoutingMode, ...] = ("single-model", "heuristic", "cost-aware", "orchestrated")


def route(kind: Kind, model: str | None, mode: RoutingMode = "single-model", roster: Roster = ROSTER) -> list[str]:
    router = Router(roster, TellLore(), Health(HandClock()))
    ask = Ask(Call("t", (Message("user", "x"),), Params(), kind=kind), RoutingWish(mode, model), CacheWish())
    return [str(candidate) for candidate in router.route(ask).candidates]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("text-3", ["openai:text-3"]),
        ("openai:text-3", ["openai:text-3"]),
        ("openai:younger-than-we", ["openai:younger-than-we"]),
        ("vectors", ["openai:text-3"]),
        ("nomic", ["ollama:nomic"]),
        ("mine", ["ollama:mine"]),
        ("pair", ["openai:text-3", "ollama:nomic"]),
    ],
)
def test_names_mean_models_that_make_embeddings(model: str, expected: list[str], mode: RoutingMode) -> None:
    assert route("embedding", model, mode) == expected


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("model", "error", "said"),
    [
        ("gpt-4o", Invalid, "gpt-4o answers in words and makes no embeddings. Models that do: openai:text-3, ollama:n"),
        ("openai:gpt-4o", Invalid, "answers in words"),
        ("openai:gpt-4o-2024-08-06", Invalid, "answers in words"),
        ("talk", Invalid, "answers in words"),
        ("qwen", Invalid, "answers in words"),
        ("local:qwen", Invalid, "answers in words"),
        ("text-33", UnknownModel, "The nearest is 'text-3'"),
        ("vec-9", ProviderNotConfigured, "The model openai:text-3 works now"),
    ],
)
def test_models_that_talk_are_refused_by_name(
    model: str, error: type[AskonceError], said: str, mode: RoutingMode
) -> None:
    with pytest.raises(error, match=said):
        route("embedding", model, mode)


def test_where_nobody_makes_embeddings_the_cure_is_told() -> None:
    alone = Roster(MEMBERS[-1:], embedders=(EMBEDDERS[1], EMBEDDERS[-1]))
    with pytest.raises(Invalid, match="To have one that does, set GROQ_API_KEY"):
        route("embedding", "qwen", roster=alone)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("model", ["text-3", "openai:text-3", "vectors", "pair"])
def test_a_question_does_not_go_to_a_model_that_makes_embeddings(model: str, mode: RoutingMode) -> None:
    with pytest.raises(Invalid, match=r"text-3 makes embeddings and answers no questions: .*POST /v1/embeddings"):
        route("chat", model, mode)


def test_the_default_is_for_words_only() -> None:
    assert route("chat", None)[0] == "openai:gpt-5"
    for mode in MODES:
        with pytest.raises(Invalid, match="model is needed"):
            route("embedding", None, mode)


def test_one_name_is_remembered_for_each_kind() -> None:
    router = Router(ROSTER, TellLore(), Health(HandClock()))

    def ask(kind: Kind) -> Ask:
        return Ask(Call("t", (Message("user", "x"),), Params(), kind=kind), RoutingWish(model="mine"), CacheWish())

    assert [router.route(ask("chat")).candidates, router.route(ask("embedding")).candidates] == 2 * [
        router.route(ask("chat")).candidates
    ]
    with pytest.raises(Invalid):
        router.route(Ask(ask("embedding").call, RoutingWish(model="gpt-4o"), CacheWish()))


def test_an_alias_for_embeddings_is_no_mistake_of_the_settings() -> None:
    assert list(unanswered(ROSTER)) == []
    told = {key: why for key, _, why in unanswered(Roster(MEMBERS, {}, "text-3", embedders=EMBEDDERS))}
    assert "makes embeddings" in told["default_model"]


class SmallLore(TellLore):
    """Know small windows and no prices."""

    def context_window(self, provider: str, model: str, features: Collection[str] = ()) -> int | None:
        return 100

    def price(self, provider: str, model: str, version: str) -> Price | None:
        return None


async def afforded(*texts: str) -> Route:
    router = Router(ROSTER, SmallLore(), Health(HandClock()))
    messages = tuple(Message("user", text) for text in texts)
    ask = Ask(Call("t", messages, Params(), kind="embedding"), RoutingWish(model="text-3"), CacheWish())
    return await router.afford(ask, router.route(ask))


def test_each_text_must_fit_the_window_by_itself() -> None:
    long = "word " * 150
    assert [str(one) for one in asyncio.run(afforded(*[long] * 50)).askable] == ["openai:text-3"]
    with pytest.raises(ContextExceeded):
        asyncio.run(afforded("short", long * 10))
