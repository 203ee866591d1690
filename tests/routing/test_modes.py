import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace
from tests.routing.routingworld import Stage, who, words

from askonce.domain.answer import Answer
from askonce.domain.call import Format, Message, Tool
from askonce.domain.content import Image, Text
from askonce.domain.errors import ContextExceeded, Invalid, ProviderBusy, ProviderFailed, ProviderNotConfigured
from askonce.domain.usage import Usage
from askonce.routing.breaker import TRIP_AFTER
from askonce.routing.health import Target
from askonce.routing.roster import Group, Preference, Roster, Share
from askonce.routing.route import MAX_CANDIDATES


def answered(first_ms: int, took_ms: int, tokens: int) -> Answer:
    return Answer("", "stop", Usage(1, tokens), "v", "m", "m", took_ms=took_ms, first_token_ms=first_ms)


def test_priority_decides_what_counts() -> None:
    stage = Stage("abc")
    stage.lore.prices = {"ma": 0.1, "mb": 20.0, "mc": 3.0}
    for _ in range(30):
        stage.health.succeed(Target(who("c"), 0), answered(100, 1100, 500))
    assert stage.order("heuristic", priority="cost")[0] == "a"
    assert stage.order("heuristic", priority="quality")[0] == "b"
    assert stage.order("heuristic", priority="speed")[0] == "c"
    scores = [one.score for one in stage.choose("heuristic").considered]
    assert scores == sorted(scores, key=lambda score: -(score or 0))


def test_the_cheapest_for_this_very_call_comes_first_and_the_unknown_last() -> None:
    stage = Stage("abcd")
    stage.lore.prices = {"ma": 5.0, "mc": 1.0, "md": 2.0}
    assert stage.order("cost-aware") == "cdab"


def test_a_provider_that_is_broken_down_comes_last_but_stays_a_candidate() -> None:
    stage = Stage("ab")
    stage.lore.prices = {"ma": 10.0, "mb": 1.0}
    assert stage.order("heuristic", priority="quality") == "ab"
    for _ in range(TRIP_AFTER):
        stage.health.fail(Target(who("a"), 0), ProviderFailed("down"))
    assert stage.order("heuristic", priority="quality") == "ba"


def test_a_key_that_rests_does_not_move_its_provider() -> None:
    stage = Stage("ab")
    stage.lore.prices = {"ma": 10.0, "mb": 1.0}
    stage.health.fail(Target(who("a"), 0), ProviderBusy("slow down", retry_after_s=9))
    assert stage.order("heuristic", priority="quality") == "ab"


def test_load_moves_the_order() -> None:
    stage = Stage("ab")
    stage.lore.prices = {"ma": 1.1, "mb": 1.0}
    assert stage.order("heuristic", priority="quality") == "ab"
    for _ in range(4):
        stage.health.begin(Target(who("a"), 0))
    assert stage.order("heuristic", priority="quality") == "ba"


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans(), st.integers(0, 5000)), max_size=40))
def test_how_things_go_changes_the_order_of_the_candidates_but_not_who_they_are(
    acts: list[tuple[str, bool, int]],
) -> None:
    stage = Stage()
    stage.lore.prices = {f"m{letter}": 1.0 + at for at, letter in enumerate("abcdef")}
    before = {priority: set(stage.order("heuristic", priority=priority)) for priority in ("quality", "speed", "cost")}
    for letter, fine, took_ms in acts:
        target = Target(who(letter), 0)
        if fine:
            stage.health.succeed(target, answered(took_ms // 2, took_ms, 50))
        else:
            stage.health.fail(target, ProviderFailed("down"))
    for priority, few in before.items():
        assert set(stage.order("heuristic", priority=priority)) == few
        assert len(few) == MAX_CANDIDATES


@pytest.mark.parametrize("mode", ["heuristic", "cost-aware", "orchestrated"])
def test_who_cannot_do_what_is_asked_is_passed_over_and_it_is_told(mode: str) -> None:
    stage = Stage("abc")
    stage.lore.can = {"ma": "tools", "mb": "tools vision", "mc": ""}
    stage.lore.windows = {"mb": 300_000}
    route = stage.choose(mode, capabilities=("vision", "Function_Calling"))
    assert route.candidates == (who("b"),)
    assert {str(one.candidate): one.skipped for one in route.considered if one.skipped} == {
        "a:ma": "lacks vision",
        "c:mc": "lacks tools, vision",
    }
    assert stage.order(mode, capabilities=("long-context",)) == "b"
    with pytest.raises(Invalid, match="No model that may be asked can do what is asked: a:ma lacks json"):
        stage.choose(mode, capabilities=("json",))


@pytest.mark.parametrize(
    ("call", "lacks"),
    [
        (replace(words("x"), tools=(Tool("f", "", Raw(b"{}")),)), "tools"),
        (words("x", format=Format("json")), "json"),
        (replace(words("x"), messages=(Message("user", (Text("x"), Image("u"))),)), "vision"),
    ],
)
def test_what_the_call_itself_needs_is_asked_for_too(call: object, lacks: str) -> None:
    with pytest.raises(Invalid, match=f"lacks {lacks}"):
        Stage("a").choose("heuristic", call)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["heuristic", "cost-aware", "orchestrated"])
def test_who_cannot_read_the_prompt_is_passed_over(mode: str) -> None:
    stage = Stage("ab")
    stage.lore.windows = {"ma": 1000, "mb": 2000}
    long = words("word " * 800)
    assert stage.order(mode, long) == "b"
    assert stage.order(mode, replace(long, params=words("", max_tokens=500).params)) == "b"
    with pytest.raises(ContextExceeded, match="a:ma reads 1000 tokens, this takes about"):
        stage.choose(mode, words("word " * 8000))


def test_work_is_done_by_whom_it_is_for() -> None:
    stage = Stage("abc", orchestrated={"docs": Preference(models=("c:mc", "a:ma")), "review": Preference("cost")})
    stage.lore.prices = {"ma": 1.0, "mb": 9.0, "mc": 3.0}
    assert stage.order("orchestrated", capabilities=("documentation",)) == "ca"
    assert stage.order("orchestrated", capabilities=("review",))[0] == "a"
    assert stage.order("orchestrated", capabilities=("plan",))[0] == "b"  # our own table: by quality
    assert stage.order("orchestrated", capabilities=("validate",))[0] == "a"
    assert stage.order("orchestrated", capabilities=("validate",), priority="quality")[0] == "b"
    assert stage.order("orchestrated", capabilities=("docs",), model="mb") == "b"  # who is named, is asked


def test_the_choice_is_among_the_owners_models_else_the_defaults_else_whom_the_name_stands_for() -> None:
    group = {"duo": Group((Share("a:ma"), Share("d:md")))}
    assert Stage("abcd").order("heuristic") == "abcd"
    stage = Stage("abcd", pool=("d:md", "duo", "b:other"), groups=group)
    assert sorted(map(str, stage.choose("cost-aware").candidates)) == ["a:ma", "b:other", "d:md"]
    assert stage.order("cost-aware", model="duo") == "ad"
    assert stage.order("heuristic", active_provider="b") == "b"


def test_with_nobody_to_choose_among_the_cure_is_told() -> None:
    stage = Stage("a")
    stage.roster = Roster()
    with pytest.raises(ProviderNotConfigured):
        stage.choose("heuristic")


def test_a_weighted_group_leads_a_conversation_to_the_same_member_always() -> None:
    group = {"duo": Group(tuple(Share(f"{c}:m{c}", 1.0) for c in "abcdef"))}
    stage = Stage(groups=group)
    orders = {stage.order("single-model", words(f"q{number}"), model="duo") for number in range(50)}
    assert len(orders) > 20
    assert {len(order) for order in orders} == {MAX_CANDIDATES}
    for number in range(50):
        call = words(f"q{number}")
        longer = replace(call, messages=(*call.messages, Message("assistant", "a"), Message("user", "b")))
        assert stage.order("single-model", call, model="duo") == stage.order("single-model", longer, model="duo")


def test_an_ordered_group_is_asked_in_its_order() -> None:
    stage = Stage(groups={"ladder": Group((Share("c:mc"), Share("a:ma")), "order")})
    assert stage.order("single-model", model="ladder") == "ca"
    assert stage.order("single-model", model="ladder", allow_failover=False) == "c"
