"""Each format of a log, and what is said of lines that are none."""

import json
from typing import Any

import pytest

from askonce.domain.money import Price, Rate
from askonce.simulation import reading
from askonce.simulation.reading import Reader
from askonce.simulation.requests import PastRequest

HI = [{"role": "user", "content": "hi"}]
CHAT = {"model": "gpt-4o", "messages": HI}
NEW_YEAR_MS = 1_767_225_600_000  # 1 January 2026, UTC


class OnePrice:
    """Know one price: a dollar per million tokens of prompts, two of answers; none for `mystery`."""

    def price(self, provider: str, model: str, version: str) -> Price | None:
        """Return it."""
        return None if model == "mystery" else Price(Rate(10**9), Rate(2 * 10**9), cache_read=Rate(0))


def reader(tenant_field: str = "", ignored: tuple[str, ...] = ()) -> Reader:
    return Reader(OnePrice(), tenant_field, ignored)


def read(*lines: dict[str, Any] | bytes, by: Reader | None = None) -> list[PastRequest]:
    by = by or reader()
    found = list(by.read(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
    if by.told.refused == 0:
        assert by.told.reasons == []
    return found


@pytest.mark.parametrize(
    "line",
    [
        CHAT,
        {"time": "2026-01-01T00:00:00Z", "tenant": "a", "usage": {"prompt_tokens": 1}, **CHAT},
        {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": CHAT},
        {"request": CHAT, "response": {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}},
        {"request_body": json.dumps(CHAT), "path": "/openai/v1/chat/completions?x=1"},
        {
            **CHAT,
            "call_type": "acompletion",
            "startTime": "2026-01-01 00:00:00.123",
            "endTime": "2026-01-01 00:00:01.5",
            "request_id": "chatcmpl-1",
            "spend": 0.1,
            "prompt_tokens": 3,
            "completion_tokens": 4,
            "total_tokens": 7,
        },
        {**CHAT, "stream": True, "user": "somebody", "metadata": {"a": "b"}},
        {"model": "gpt-4o", "input": "hi"},
        {"model": "gpt-4o", "max_tokens": 5, "messages": HI},
    ],
)
def test_the_same_question_is_known_however_it_was_logged(line: dict[str, Any]) -> None:
    plain, logged = read(CHAT, line)
    assert (plain.fingerprint == logged.fingerprint) is ("max_tokens" not in line)


@pytest.mark.parametrize(
    ("line", "model"),
    [
        ({"model": "claude-x", "max_tokens": 5, "messages": HI, "system": "be brief"}, "claude-x"),
        ({"prompt": "hi"}, ""),
        ({"prompt": "hi", "user": "somebody", "time": 1}, ""),
        ({"prompt": "hi", "model": "openai:gpt-4o", "maxTokens": 5}, "openai:gpt-4o"),
        ({"model": "gpt-4o", "input": "hi"}, "gpt-4o"),
        ({"model": "text-embedding-3-small", "input": ["hi"]}, "text-embedding-3-small"),
    ],
)
def test_all_doors_shapes_are_read(line: dict[str, Any], model: str) -> None:
    (found,) = read(line)
    assert found.model == model


def test_wishes_about_the_cache_are_read() -> None:
    plain, off = read({"prompt": "hi"}, {"prompt": "hi", "cache": {"mode": "off"}})
    assert (plain.mode, off.mode) == ("default", "off")
    assert plain.fingerprint == off.fingerprint


def test_numbers_and_the_order_of_keys_make_no_other_question() -> None:
    one, same, other = read(
        b'{"model": "gpt-4o", "temperature": 1, "messages": [{"role": "user", "content": "hi"}]}',
        b'{"messages":[{"content":"hi","role":"user"}],"temperature":1.0,"model":"gpt-4o"}',
        b'{"messages":[{"content":"hi","role":"user"}],"temperature":0.5,"model":"gpt-4o"}',
    )
    assert one.fingerprint == same.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("time", "at_ms"),
    [
        ({"time": "2026-01-01T00:00:00Z"}, NEW_YEAR_MS),
        ({"timestamp": "2026-01-01T01:00:00+01:00"}, NEW_YEAR_MS),
        ({"created_at": "2026-01-01 00:00:00"}, NEW_YEAR_MS),
        ({"ts": NEW_YEAR_MS // 1000}, NEW_YEAR_MS),
        ({"ts": NEW_YEAR_MS / 1000 + 0.25}, NEW_YEAR_MS + 250),
        ({"createdAt": NEW_YEAR_MS}, NEW_YEAR_MS),
    ],
)
def test_times_are_seconds_milliseconds_or_written_out(time: dict[str, Any], at_ms: int) -> None:
    (found,) = read({**time, "body": CHAT})
    assert found.at_ms == at_ms


def test_a_line_without_a_time_came_a_second_after_the_one_before() -> None:
    by = reader()
    first, second = read({"time": 100, "body": CHAT}, {"time": None, "body": CHAT}, by=by)
    assert (first.at_ms, second.at_ms, by.told.timeless) == (100_000, 101_000, 1)


@pytest.mark.parametrize("time", [True, "soon", "nan", -5, 1e300, [], {}])
def test_a_time_that_is_none_makes_no_request(time: object) -> None:
    by = reader()
    assert read({"time": time, "body": CHAT}, by=by) == []
    assert "is no time" in by.told.reasons[0]


def test_lines_a_little_out_of_order_are_put_in_order() -> None:
    by = reader()
    found = read(*({"ts": at, "body": CHAT} for at in (20, 10, 30)), by=by)
    assert [one.at_ms for one in found] == [10_000, 20_000, 30_000]
    assert by.told.backwards == 0


def test_what_is_out_of_order_by_far_came_with_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "REORDERED", 1)
    by = reader()
    found = read(*({"ts": at, "body": CHAT} for at in (20, 30, 40, 10)), by=by)
    assert [one.at_ms for one in found] == [20_000, 30_000, 30_000, 40_000]
    assert by.told.backwards == 1


@pytest.mark.parametrize(
    "more",
    [
        {"status": 500},
        {"status_code": 429},
        {"error": "overloaded"},
        {"response": {"status_code": 400}},
        {"status": "failed"},
    ],
)
def test_calls_that_failed_are_known_by_what_is_said_around_them(more: dict[str, Any]) -> None:
    by = reader()
    found = read({"body": CHAT, **more}, {"body": CHAT, "status": 200, "error": None}, by=by)
    assert [one.failed for one in found] == [True, False]
    assert by.told.failed == 1


@pytest.mark.parametrize(
    ("usage", "cost_nano"),
    [
        ({"prompt_tokens": 1000, "completion_tokens": 10}, 1_020_000),
        ({"input_tokens": 1000, "output_tokens": 10}, 1_020_000),
        ({"promptTokens": 1000, "completionTokens": 10}, 1_020_000),
        ({"prompt_tokens": 1000, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 400}}, 600_000),
        ({"input_tokens": 600, "output_tokens": 0, "cache_read_input_tokens": 400}, 600_000),
        ({"input_tokens": 600, "output_tokens": 0, "cache_creation_input_tokens": 0}, 600_000),
    ],
)
def test_usage_is_priced_in_every_vendors_words(usage: dict[str, Any], cost_nano: int) -> None:
    by = reader()
    (found,) = read({"usage": usage, "body": CHAT}, by=by)
    assert (found.cost_nano, by.told.without_output) == (cost_nano, 0)


@pytest.mark.parametrize("took", [{"duration": 1.5}, {"took_ms": 1500}, {"latencyMs": 1500.4}])
def test_how_long_it_took_is_read(took: dict[str, Any]) -> None:
    (found,) = read({**took, "body": CHAT})
    assert found.took_ms == 1500


def test_what_a_line_does_not_say_is_told() -> None:
    by = reader()
    (found,) = read({"body": {**CHAT, "model": "mystery", "sort": 1}}, by=by)
    assert (by.told.without_output, by.told.unpriced, found.cost_nano) == (1, 1, None)
    assert by.told.extra_fields == {"sort": 1}


def test_unknown_fields_are_part_of_the_question_unless_left_out() -> None:
    lines: list[dict[str, Any]] = [{**CHAT, "seen": 1}, {**CHAT, "seen": 2}]
    one, other = read(*lines)
    assert one.fingerprint != other.fingerprint
    one, other = read(*lines, by=reader(ignored=("seen",)))
    assert one.fingerprint == other.fingerprint


def test_tenants_share_nothing_and_are_named_by_a_field() -> None:
    lines: list[dict[str, Any]] = [{**CHAT, "org": "a"}, {**CHAT, "org": "b"}, {"org": "a", "body": CHAT}]
    a, b, again = read(*lines, by=reader(tenant_field="org"))
    assert (a.tenant, b.tenant, again.tenant) == ("a", "b", "a")
    assert a.fingerprint == again.fingerprint != b.fingerprint
    (inside,) = read({**CHAT, "metadata": {"team": "x"}}, by=reader(tenant_field="metadata.team"))
    assert inside.tenant == "x"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"nonsense", "no JSON"),
        (b'{"a":', "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[1]", "no JSON object"),
        (b"[" * 100_000, "no JSON"),
        (b"{}", "no request in it"),
        (b'{"body": 5}', "no request in it"),
        (b'{"messages": []}', "would refuse it"),
        (b'{"prompt": "x", "nonsense": 1}', "nonsense"),
        (b'{"messages": "x", "model": "m"}', "would refuse it"),
        (b'{"prompt": "x", "usage": {"prompt_tokens": 99999999999, "completion_tokens": 1}}', "usage cannot be"),
    ],
)
def test_bad_lines_are_counted_and_told(line: bytes, reason: str) -> None:
    by = reader()
    found = read(json.dumps(CHAT).encode(), b"  ", line, json.dumps(CHAT).encode(), by=by)
    assert len(found) == 2
    assert (by.told.lines, by.told.requests, by.told.refused) == (3, 2, 1)
    assert by.told.reasons[0].startswith("line 3: ")
    assert reason in by.told.reasons[0]


def test_only_the_first_reasons_are_kept() -> None:
    by = reader()
    read(*[b"nonsense"] * 100, by=by)
    assert (by.told.refused, len(by.told.reasons)) == (100, 5)
