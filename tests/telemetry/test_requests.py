"""Lines of paid calls are written, all of them, if a moment later."""

import asyncio
import io
import json

import pytest
from msgspec.structs import replace

from askonce.domain.errors import ProviderFailed, ProviderTimeout
from askonce.domain.ledger import CallRow, Origin
from askonce.telemetry import logs, requests
from askonce.telemetry.requests import RequestLog


def record(number: int) -> CallRow:
    origin = Origin("team", "k1", "", "generate", f"r-{number}")
    return CallRow(1, origin, "openai", "gpt-4o", "gpt-4o-2024", "answered", True, True, 5)


@pytest.fixture
def lines():
    stream = io.StringIO()
    logs.configure("info", "json", stream)

    def read() -> list[str]:
        return [json.loads(line)["request_id"] for line in stream.getvalue().splitlines()]

    yield read
    logs.configure("info", "json")


def test_a_line_is_written_behind_its_answer(lines) -> None:
    async def main() -> None:
        log = RequestLog()
        log.paid(record(1))
        log.paid(record(2))
        assert lines() == []
        async with asyncio.timeout(5):
            while lines() != ["r-1", "r-2"]:
                await asyncio.sleep(requests.LATER_S / 5)
        log.paid(record(3))
        log.flush()
        assert lines() == ["r-1", "r-2", "r-3"]

    asyncio.run(main())


def test_not_more_lines_wait_than_a_bound_and_none_outside_of_a_loop(lines) -> None:
    async def main() -> None:
        log = RequestLog()
        for number in range(requests.WAITING_MAX):
            log.paid(record(number))
        assert len(lines()) == requests.WAITING_MAX

    asyncio.run(main())
    RequestLog().paid(record(-1))
    assert lines()[-1] == "r--1"


def test_a_failed_request_is_logged_without_the_vendors_words(lines) -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    RequestLog().failed(ProviderFailed("Acme failed with status 500: your prompt was 'my diary'."))
    RequestLog().failed(ProviderTimeout("Acme did not answer in time."))
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["code"], first["status"]) == ("provider_error", 502)
    assert "diary" not in json.dumps(first)
    assert second["reason"] == "Acme did not answer in time."


def test_the_line_of_a_call_says_whether_its_cost_is_known_and_whether_it_is_a_guess(lines) -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    log = RequestLog()
    for priced, estimated in ((True, False), (False, False), (True, True)):
        log.paid(replace(record(1), priced=priced, estimated=estimated))
    log.flush()
    said = [(line["priced"], line["estimated"]) for line in map(json.loads, stream.getvalue().splitlines())]
    assert said == [(True, False), (False, False), (True, True)]
