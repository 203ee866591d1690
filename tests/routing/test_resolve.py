import time
from typing import get_args

import pytest
from msgspec.structs import replace

from askonce.domain.call import Candidate, RoutingMode, RoutingWish
from askonce.domain.errors import AskonceError, Invalid, ProviderNotConfigured, UnknownModel
from askonce.routing.modes import MODES, resolve
from askonce.routing.resolve import nearest
from askonce.routing.roster import Group, Member, Roster, Share

OPENAI = Member("openai", "OpenAI", True, "set OPENAI_API_KEY", "gpt-5-mini", ("gpt-4o", "gpt-4o-mini", "gpt-5-mini"))
ANTHROPIC = Member("anthropic", "Anthropic", False, "this version cannot ask it yet", "claude-x", ("claude-x",))
GROQ = Member("groq", "Groq", False, "set GROQ_API_KEY", "fast-1", ("fast-1", "gpt-oss"))
CEREBRAS = Member("cerebras", "Cerebras", True, "set CEREBRAS_API_KEY", "gpt-oss", ("gpt-oss",))
OPENROUTER = Member("openrouter", "OpenRouter", True, "", "openai/gpt-4o", ("openai/gpt-4o",))
OLLAMA = Member("ollama", "Ollama", True, "set OLLAMA_HOST")
LOCAL = Member("local", "The embedded model", True, "", "qwen", ("qwen",), open_ended=False, stands_in=False)
ALL = Roster(
    (OPENAI, ANTHROPIC, GROQ, CEREBRAS, OPENROUTER, OLLAMA, LOCAL),
    {"best": "openai:gpt-4o", "quick": "gpt-oss", "team": "group"},
    groups={
        "group": Group((Share("best", 3), Share("groq:fast-1"), Share("cerebras:gpt-oss", 1))),
        "ladder": Group((Share("cerebras:gpt-oss"), Share("gpt-4o")), "order"),
        "absent": Group((Share("groq:fast-1"),)),
    },
)


def only(*members: Member, **more: str) -> Roster:
    return Roster(members, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "active", "expected"),
    [
        ("gpt-4o", None, "openai:gpt-4o"),
        ("openai:gpt-4o", None, "openai:gpt-4o"),
        ("gpt-4o-2024-08-06", None, "openai:gpt-4o-2024-08-06"),
        ("gpt-4o-mini-20240718", None, "openai:gpt-4o-mini-20240718"),
        ("gpt-4o-latest", None, "openai:gpt-4o-latest"),
        ("openai:gpt-9-unheard-of", None, "openai:gpt-9-unheard-of"),
        ("openai:ft:gpt-4o:mine", None, "openai:ft:gpt-4o:mine"),
        ("openrouter:openai/gpt-4o", None, "openrouter:openai/gpt-4o"),
        ("openai/gpt-4o", None, "openrouter:openai/gpt-4o"),
        ("ollama:llama3.2:1b", None, "ollama:llama3.2:1b"),
        ("gpt-oss", None, "cerebras:gpt-oss"),  # Groq stands before it, but is not configured
        ("best", None, "openai:gpt-4o"),
        ("quick", None, "cerebras:gpt-oss"),
        ("qwen", None, "local:qwen"),
        (None, None, "openai:gpt-5-mini"),
        (None, "local", "local:qwen"),
        ("gpt-4o", "openai", "openai:gpt-4o"),
        ("openai:gpt-4o", "openai", "openai:gpt-4o"),
        ("best", "openai", "openai:gpt-4o"),
        ("llama3.2:1b", "ollama", "ollama:llama3.2:1b"),
        ("openai/gpt-4o", "openrouter", "openrouter:openai/gpt-4o"),
    ],
)
def test_names_become_candidates(model: str | None, active: str | None, expected: str) -> None:
    first, *others = resolve(RoutingWish(model=model, active_provider=active), ALL).candidates
    assert str(first) == expected
    assert not others or not model
    if active:
        assert resolve(RoutingWish("manual", model, active), ALL).candidates == (first,)


@pytest.mark.parametrize(
    ("model", "active", "expected", "weights"),
    [
        ("group", None, "openai:gpt-4o cerebras:gpt-oss", (3, 1)),  # Groq is not configured
        ("team", None, "openai:gpt-4o cerebras:gpt-oss", (3, 1)),
        ("group", "cerebras", "cerebras:gpt-oss", (1,)),
        ("ladder", None, "cerebras:gpt-oss openai:gpt-4o", ()),
    ],
)
def test_a_group_stands_for_its_members_that_can_be_asked(
    model: str, active: str | None, expected: str, weights: tuple[float, ...]
) -> None:
    pool = resolve(RoutingWish(model=model, active_provider=active), ALL)
    assert " ".join(map(str, pool.candidates)) == expected
    assert pool.weights == weights


def test_a_name_that_several_providers_have_is_theirs_in_their_order() -> None:
    roster = only(replace(GROQ, configured=True), CEREBRAS, OPENAI)
    found = resolve(RoutingWish(model="gpt-oss"), roster).candidates
    assert [str(one) for one in found] == ["groq:gpt-oss", "cerebras:gpt-oss"]


@pytest.mark.parametrize(
    ("roster", "expected"),
    [
        (only(OPENAI, LOCAL, default_model="qwen"), "local:qwen"),
        (only(OPENAI, LOCAL, default_model="openai:gpt-4o"), "openai:gpt-4o"),
        (only(GROQ, CEREBRAS, OPENAI), "cerebras:gpt-oss openai:gpt-5-mini"),
        (only(OPENAI, CEREBRAS, LOCAL), "openai:gpt-5-mini cerebras:gpt-oss"),  # a small model never stands in
        (only(OPENAI, CEREBRAS, default_model="gpt-4o"), "openai:gpt-4o"),
        (only(GROQ, OLLAMA, LOCAL), "local:qwen"),  # an Ollama that was not asked yet has no default
        (only(Member("ollama", "Ollama", True, models=("llama3",)), LOCAL), "ollama:llama3"),
    ],
)
def test_without_a_name_the_default_answers_and_other_defaults_stand_in(roster: Roster, expected: str) -> None:
    assert " ".join(map(str, resolve(RoutingWish(), roster).candidates)) == expected


@pytest.mark.parametrize(
    ("wish", "error", "says"),
    [
        (
            RoutingWish(model="claude-x"),
            ProviderNotConfigured,
            "cannot ask it yet. The model openai:gpt-5-mini works now",
        ),
        (RoutingWish(model="anthropic:claude-y"), ProviderNotConfigured, "Anthropic is not configured"),
        (RoutingWish(model="groq:fast-1"), ProviderNotConfigured, "set GROQ_API_KEY.*openai:gpt-5-mini works now"),
        (RoutingWish(model="fast-1"), ProviderNotConfigured, "set GROQ_API_KEY"),
        (RoutingWish(active_provider="groq"), ProviderNotConfigured, "set GROQ_API_KEY"),
        (RoutingWish(model="openai:"), Invalid, "no model: write openai:MODEL"),
        (RoutingWish(model="opnai:gpt-4o"), UnknownModel, "did you mean 'openai'?"),
        (RoutingWish(model="gpt-4p"), UnknownModel, "'gpt-4p'. The nearest is 'gpt-4o'"),
        (RoutingWish(model="fast-2"), UnknownModel, "nearest is 'fast-1'"),
        (RoutingWish(model="llama3.2:1b"), UnknownModel, "PROVIDER:MODEL"),
        (RoutingWish(model="local:qwem"), UnknownModel, "nearest is 'qwen'"),
        (RoutingWish(model="x" * 5000), UnknownModel, "x…"),
        (RoutingWish(active_provider="opnai"), Invalid, "Did you mean 'openai'"),
        (RoutingWish(active_provider="zzz"), Invalid, "no provider 'zzz'.$"),
        (RoutingWish(model="openai:gpt-4o", active_provider="local"), Invalid, "send one of the two"),
        (RoutingWish(active_provider="ollama"), Invalid, "ollama:MODEL"),
        (RoutingWish("manual"), Invalid, "needs activeProvider"),
        (RoutingWish(model="grup"), UnknownModel, "nearest is 'group'"),
        (RoutingWish(model="group", active_provider="local"), Invalid, "no member at 'local'"),
        (RoutingWish(model="absent"), ProviderNotConfigured, "set GROQ_API_KEY"),
    ],
)
def test_refusals_tell_the_cure(wish: RoutingWish, error: type[AskonceError], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        resolve(wish, ALL)
    assert len(caught.value.message) < 600
    if error is Invalid:
        assert caught.value.details


def test_with_nobody_configured_the_first_cure_is_told() -> None:
    with pytest.raises(ProviderNotConfigured, match=r"No provider is configured. To begin, set GROQ_API_KEY."):
        resolve(RoutingWish(), only(GROQ))
    with pytest.raises(ProviderNotConfigured, match=r"No provider is configured.$"):
        resolve(RoutingWish(), Roster())


def test_every_mode_of_the_contract_exists() -> None:
    assert set(MODES) == set(get_args(RoutingMode))


def test_a_suggestion_costs_little_however_many_names_there_are() -> None:
    names = [f"vendor-{n}/model-{n * 7}-instruct" for n in range(5_000)] + ["vendor/the-one"]
    started = time.process_time()
    assert nearest("vendor/the-onn", names) == "vendor/the-one"
    nearest("v" * 100_000, names)
    assert time.process_time() - started < 1.0


def test_a_candidate_is_written_as_it_is_asked_for() -> None:
    assert str(Candidate("openai", "gpt-4o")) == "openai:gpt-4o"
