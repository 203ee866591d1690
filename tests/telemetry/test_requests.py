"""Lines of paid calls are written, all of them, if a moment later."""

import asyncio
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from askonce.domain.errors import ProviderFailed, ProviderTimeout
from askonce.domain.executions import Submission, Submitter
from askonce.domain.ledger import CallRow, Origin
from askonce.domain.watching import Course, Served, Worked
from askonce.telemetry import logs, requests
from askonce.telemetry.requests import RequestLog, Worth


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


def served(number: int, took_us: int = 250, **more: Any) -> Served:
    return replace(Served("generate", 200, took_us, f"r-{number}", "", "hit", "openai", "gpt-4o", 5, 40), **more)


@pytest.fixture
def whole() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logs.configure("info", "json")


def test_hits_are_logged_by_sample(whole) -> None:
    dice = iter([0.05, 0.5, 0.09])
    log = RequestLog(Worth(share=0.1), lambda: next(dice))
    for number in range(3):
        log.served(served(number))
    assert [line["request_id"] for line in whole()] == ["r-0", "r-2"]
    assert whole()[0] | {"timestamp": ""} == {
        "event": "request",
        "level": "info",
        "logger": "askonce",
        "timestamp": "",
        "request_id": "r-0",
        "door": "generate",
        "status": 200,
        "cache": "hit",
        "provider": "openai",
        "model": "gpt-4o",
        "took_ms": 0.25,
        "entered_ms": 0.04,
        "saved_nano": 5,
    }


def test_work_in_the_background_gets_a_line_at_its_end_and_its_nodes_none(whole) -> None:
    log = RequestLog()
    submission = Submission("e-1", "workflow", "workflows", "site", Raw(b"{}"), Submitter("who", "acme"), 1)
    submission = replace(submission, request_id="r-1")
    log.worked(Worked(submission, 1, "failed", 2, 3, "provider_error", "api", "generator"))
    log.worked(Worked(submission, 1, "failed", 1_000, 3_500, "provider_error", cost_nano=7, saved_nano=5))
    log.worked(Worked(submission, 2, "succeeded", 4_000, 5_000))
    failed, succeeded = whole()
    assert failed | {"timestamp": ""} == {
        "event": "execution",
        "level": "warning",
        "logger": "askonce",
        "timestamp": "",
        "execution_id": "e-1",
        "kind": "workflow",
        "name": "site",
        "status": "failed",
        "code": "provider_error",
        "request_id": "r-1",
        "tenant": "acme",
        "took_ms": 2500,
        "cost_nano": 7,
        "saved_nano": 5,
    }
    assert (succeeded["level"], succeeded["status"], "code" in succeeded) == ("info", "succeeded", False)


def test_nothing_is_logged_of_hits_unless_it_is_wanted(whole) -> None:
    RequestLog().served(served(1))
    assert whole() == []


def test_a_slow_request_is_logged_with_its_timeline(whole) -> None:
    log = RequestLog(Worth(slow_s=1.0))
    course = Course(100, 200, 300, 900_000, 1_400_000, 1_400_500)
    log.paid(record(1), course)
    log.served(served(1, 1_401_000, cache="miss", saved_nano=0))
    log.served(served(2, 1_500_000, cache="coalesced"))
    log.served(served(3, 999_000))
    log.flush()
    slow = [line for line in whole() if line["event"] == "slow_request"]
    assert [line["request_id"] for line in slow] == ["r-1", "r-2"]
    assert slow[0]["level"] == "warning"
    assert slow[0]["stages_ms"] == {
        "admission": 0.1,
        "boarding": 0.1,
        "dispatch": 0.1,
        "first_token": 899.7,
        "generation": 500.0,
        "settlement": 0.5,
    }
    assert "stages_ms" not in slow[1], "it joined: the call was another request's"


def test_timelines_of_callers_who_left_are_not_kept_for_ever() -> None:
    log = RequestLog(Worth(slow_s=1.0))
    for number in range(2 * requests.COURSES_MAX):
        log.paid(record(number), Course(settled_us=2_000_000))
    assert len(log._stages) == requests.COURSES_MAX
    log.flush()
