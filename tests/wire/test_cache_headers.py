"""Cache-Control in, Cache-Status out."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from askonce.domain.answer import CacheState
from askonce.domain.call import CacheWish
from askonce.wire.cache_headers import MAX_AGE_CEILING_S, cache_status, read_cache_control

NONE = CacheWish()


@pytest.mark.parametrize(
    ("header", "wish"),
    [
        (None, NONE),
        ("", NONE),
        ("no-cache", CacheWish("refresh")),
        ("No-Cache", CacheWish("refresh")),
        ("  no-cache  ", CacheWish("refresh")),
        ("no-store", CacheWish("off")),
        ("only-if-cached", CacheWish("only")),
        ("no-cache, no-store", CacheWish("off")),
        ("no-cache,no-store,max-age=0", CacheWish("off", None, 0)),
        ("only-if-cached, no-cache", CacheWish("only")),
        ("max-age=60", CacheWish("default", None, 60)),
        ("max-age=0", CacheWish("default", None, 0)),
        ("MAX-AGE=5", CacheWish("default", None, 5)),
        ('max-age="60"', CacheWish("default", None, 60)),
        ("max-age = 60", CacheWish("default", None, 60)),
        ("max-age=00060", CacheWish("default", None, 60)),
        ("max-age=99999999999", CacheWish("default", None, MAX_AGE_CEILING_S)),
        ("max-age=" + "9" * 5000, NONE),
        ("max-age=-1", NONE),
        ("max-age=1.5", NONE),
        ("max-age=1e3", NONE),
        ("max-age=", NONE),
        ("max-age", NONE),
        ("max-age=²", NONE),
        ("max-age=abc, no-cache", CacheWish("refresh")),
        ("public, max-stale=5, no-transform", NONE),
        ("x-no-cache", NONE),
        ("no-cachex", NONE),
        (",,,", NONE),
        ("=", NONE),
        ("only-if-cached, max-age=5", CacheWish("only", None, 5)),
    ],
)
def test_what_a_request_asks_of_the_cache(header: str | None, wish: CacheWish) -> None:
    assert read_cache_control(header) == wish


@pytest.mark.parametrize(
    ("header", "wish"),
    [
        (None, CacheWish("off")),
        ("", CacheWish("off")),
        ("no-transform", CacheWish("off")),
        ("max-age=nonsense", CacheWish("off")),
        ("max-age=60", CacheWish("default", None, 60)),
        ("no-cache", CacheWish("refresh")),
        ("only-if-cached", CacheWish("only")),
        ("no-store, max-age=60", CacheWish("off", None, 60)),
    ],
)
def test_where_the_cache_is_off_unless_asked_for_a_directive_asks(header: str | None, wish: CacheWish) -> None:
    assert read_cache_control(header, "off") == wish


@settings(deadline=None)
@given(st.text(max_size=40) | st.text(alphabet='no-cachestremaxg=,"0 9;', max_size=40))
def test_any_header_is_a_wish(header: str) -> None:
    wish = read_cache_control(header)
    assert wish.ttl_s is None
    assert wish.max_age_s is None or 0 <= wish.max_age_s <= MAX_AGE_CEILING_S


STATUSES: list[tuple[CacheState, int, bool, str]] = [
    ("hit", 3599, True, "askonce; hit; ttl=3599"),
    ("hit", 0, True, "askonce; hit; ttl=0"),
    ("miss", 0, True, "askonce; fwd=miss; stored"),
    ("miss", 0, False, "askonce; fwd=miss"),
    ("coalesced", 0, True, "askonce; fwd=miss; collapsed"),
    ("coalesced", 0, False, "askonce; fwd=miss; collapsed"),
    ("refresh", 0, True, "askonce; fwd=request; stored"),
    ("refresh", 0, False, "askonce; fwd=request"),
    ("off", 0, False, "askonce; fwd=bypass"),
]


@pytest.mark.parametrize(("state", "ttl_s", "stored", "header"), STATUSES)
def test_how_an_answer_came_about_is_said_as_rfc_9211_has_it(
    state: CacheState, ttl_s: int, stored: bool, header: str
) -> None:
    assert cache_status(state, ttl_s, stored) == header
    assert re.fullmatch(r"askonce(; (hit|stored|collapsed|fwd=(bypass|miss|request)|ttl=-?\d+))+", header)
