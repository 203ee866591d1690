"""What is kept, how long, and what is fresh enough."""

from typing import Any

import pytest

from askonce.cache.policy import KEPT_TEXT_LIMIT, Policy, Unsaid, fresh_after_ms
from askonce.domain.answer import Answer
from askonce.domain.call import CacheMode, CacheWish
from askonce.domain.caller import ANONYMOUS_TENANT, Caller
from askonce.domain.usage import Usage

NOW_MS = 1_700_000_000_000


def answer(finish: Any = "stop", text: str = "x") -> Answer:
    return Answer(text, finish, Usage(1, 1), "p", "m", "v")


@pytest.mark.parametrize(
    ("enabled", "wish", "mode"),
    [
        (True, "default", "default"),
        (True, "refresh", "refresh"),
        (True, "off", "off"),
        (True, "only", "only"),
        (False, "default", "off"),
        (False, "refresh", "off"),
        (False, "off", "off"),
        (False, "only", "only"),  # never asks, so that nothing is paid against the caller's wish
    ],
)
def test_with_the_cache_off_nothing_is_kept_but_only_still_never_asks(
    enabled: bool, wish: CacheMode, mode: CacheMode
) -> None:
    assert Policy(enabled, 60).mode(CacheWish(wish)) == mode


@pytest.mark.parametrize(("ttl_s", "life_ms"), [(None, 60_000), (1, 1000), (86_400, 86_400_000)])
def test_an_entry_lives_as_long_as_the_request_says_or_else_the_configuration(ttl_s: int | None, life_ms: int) -> None:
    assert Policy(True, 60).expires_ms(CacheWish(ttl_s=ttl_s), NOW_MS) == NOW_MS + life_ms


@pytest.mark.parametrize(
    ("finish", "kept"),
    [("stop", True), ("length", True), ("tool_calls", True), ("content_filter", False), ("unknown", False)],
)
def test_only_good_endings_are_kept(finish: str, kept: bool) -> None:
    assert Policy(True, 60).keeps(answer(finish)) is kept


def test_an_oversized_answer_is_not_kept() -> None:
    assert Policy(True, 60).keeps(answer(text="x" * KEPT_TEXT_LIMIT))
    assert not Policy(True, 60).keeps(answer(text="x" * (KEPT_TEXT_LIMIT + 1)))


@pytest.mark.parametrize(
    ("max_age_s", "mode", "after_ms"),
    [
        (None, "default", 0),
        (10, "default", NOW_MS - 10_000),
        (0, "default", NOW_MS + 1),
        (0, "only", NOW_MS + 1),
        (None, "refresh", NOW_MS),
        (10, "refresh", NOW_MS),
    ],
)
def test_what_is_older_than_a_request_accepts_does_not_count(
    max_age_s: int | None, mode: CacheMode, after_ms: int
) -> None:
    assert fresh_after_ms(CacheWish(mode, None, max_age_s), mode, NOW_MS) == after_ms


KEYED, BARE = Caller("key:ab", "team", "ab"), Caller("key:cd", "key-cd", "cd")
ANONYMOUS = Caller("addr:127.0.0.1", ANONYMOUS_TENANT)


@pytest.mark.parametrize(
    ("unsaid", "path", "caller", "mode"),
    [
        (Unsaid(), "/v1/messages", KEYED, "default"),
        (Unsaid(frozenset({"/v1/messages"})), "/v1/messages", ANONYMOUS, "off"),
        (Unsaid(frozenset({"/v1/messages"})), "/llm/generate", ANONYMOUS, "default"),
        (Unsaid(callers=frozenset({"team"})), "/llm/generate", KEYED, "off"),
        (Unsaid(callers=frozenset({"team"})), "/llm/generate", BARE, "default"),
        (Unsaid(callers=frozenset({"key-ab"})), "/llm/generate", KEYED, "off"),
        (Unsaid(callers=frozenset({"key-ab"})), "/llm/generate", Caller("key:ef", "team", "ef"), "default"),
        (Unsaid(callers=frozenset({"key-cd"})), "/llm/generate", BARE, "off"),
        (Unsaid(callers=frozenset({"key-cd"})), "/llm/generate", ANONYMOUS, "default"),
    ],
)
def test_a_request_that_says_nothing_does_as_its_door_and_its_key_have_it(
    unsaid: Unsaid, path: str, caller: Caller, mode: CacheMode
) -> None:
    assert unsaid.mode(path, caller) == mode
