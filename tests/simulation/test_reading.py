"""What lines of a log are requests, which of them are one question, and how it is told what was not."""

import json
from typing import Any

import pytest

from askonce.domain.money import Price, Rate
from askonce.simulation.reading import GAP_MS, Reader
from askonce.simulation.requests import PastRequest

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
CLAUDE = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100}


class Tariff:
    """Charge a dollar per million tokens of any model but those that begin with an x."""

    def price(self, provider: str, model: str, version: str) -> Price | None:
        return None if model.startswith("x") else Price(Rate(10**9), Rate(10**9))


def read(*lines: Any, tenant_field: str = "") -> tuple[list[PastRequest], Reader]:
    reader = Reader(Tariff(), tenant_field)
    encoded = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    return list(reader.read(encoded)), reader


@pytest.mark.parametrize(
    "line",
    [
        CHAT,
        {"body": CHAT},
        {"request": json.dumps(CHAT)},
        {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": CHAT},
        {"time": 1, "path": "/v1/chat/completions?x=1", "payload": {**CHAT, "stream": True, "user": "me"}},
        {**CHAT, "timestamp": 5, "usage": USAGE, "took_ms": 3, "response": {}},
        {"messages": CHAT["messages"], "model": "gpt-4o"},
        {"model": "gpt-4o", "input": "hi"},
    ],
)
def test_however_it_was_logged_it_is_the_same_question(line: dict[str, Any]) -> None:
    (plain, found), reader = read(CHAT, line)
    assert found.fingerprint == plain.fingerprint
    assert reader.told.refused == 0


@pytest.mark.parametrize(
    "line",
    [
        {**CHAT, "temperature": 0.5},
        {**CHAT, "model": "gpt-4o-mini"},
        CLAUDE,
        {"prompt": "hi"},
        {"model": "text-embedding-3-small", "input": "hi"},
    ],
)
def test_what_is_another_question_has_another_fingerprint(line: dict[str, Any]) -> None:
    (plain, found), reader = read(CHAT, line)
    assert found.fingerprint != plain.fingerprint
    assert reader.told.refused == 0


def test_tenants_do_not_share() -> None:
    found, _ = read(
        {"body": CHAT, "meta": {"team": "a"}}, {"body": CHAT, "meta": {"team": "b"}}, tenant_field="meta.team"
    )
    assert [one.tenant for one in found] == ["a", "b"]
    assert found[0].fingerprint != found[1].fingerprint


def test_times_are_read_as_seconds_milliseconds_or_iso_and_missing_ones_told() -> None:
    found, reader = read(
        {"time": 1_700_000_000, "body": CHAT},
        {"ts": 1_700_000_001_500, "body": CHAT},
        {"timestamp": "2023-11-14T22:13:23Z", "body": CHAT},
        {"body": CHAT},
        {"time": 1_600_000_000, "body": CHAT},
    )
    base = 1_700_000_000_000
    assert [one.at_ms - base for one in found] == [0, 1500, 3000, 3000 + GAP_MS, 3000 + GAP_MS]
    assert (reader.told.timeless, reader.told.backwards) == (1, 1)


def test_what_it_cost_is_by_its_usage_and_what_is_not_known_is_told() -> None:
    found, reader = read(
        {"body": CHAT, "usage": USAGE, "duration": 1.5},
        {"body": CHAT, "response": {"body": {"usage": {"input_tokens": 10, "output_tokens": 10}}}},
        CHAT,
        {"body": {**CHAT, "model": "xyz"}, "usage": USAGE},
    )
    assert [one.cost_nano for one in found[:2]] == [1_100_000, 20_000]
    assert found[0].took_ms == 1500
    assert (reader.told.without_output, reader.told.unpriced) == (1, 1)
    assert found[3].cost_nano is None


def test_lines_that_are_no_requests_are_counted_with_their_first_reasons() -> None:
    found, reader = read(b"not json", [1], {"foo": 1}, b"", {**CHAT, "temperature": "hot"}, CHAT)
    assert len(found) == 1
    assert (reader.told.lines, reader.told.refused) == (5, 4)
    assert [reason.partition(":")[0] for reason in reader.told.reasons] == ["line 1", "line 2", "line 3", "line 5"]
    assert "would refuse it" in reader.told.reasons[-1]
