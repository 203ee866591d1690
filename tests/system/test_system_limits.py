"""The window of requests, by real processes: exact at once, sliding, and honest about when to come again."""

import asyncio
import time

import pytest
from tests.system.clients import Answered, at_once, post, request_now, run
from tests.system.houses import Build, House

pytestmark = pytest.mark.process
SPAN_S = 3
ALLOWED, ASKED = 20, 25


def flood(house: House, source: str = "", number: int = ASKED) -> list[Answered]:
    """Ask at once over fresh connections: some questions the same, some different."""
    return run(at_once(house.port, [{"prompt": f"question {at % 7}"} for at in range(number)], source))


def sorted_out(replies: list[Answered]) -> tuple[list[Answered], list[Answered]]:
    admitted = [reply for reply in replies if reply.status == 200]
    refused = [reply for reply in replies if reply.status == 429]
    assert len(admitted) + len(refused) == len(replies), [reply for reply in replies if reply.status not in (200, 429)]
    return admitted, refused


@pytest.mark.parametrize("workers", [1, 4])
def test_of_25_at_once_exactly_20_pass_and_as_many_again_after_the_true_wait(build: Build, workers: int) -> None:
    house = build(f'workers = {workers}\nlimit_llm = "{ALLOWED}/{SPAN_S}s"').start()
    began = time.monotonic()
    admitted, refused = sorted_out(flood(house))
    assert time.monotonic() - began < SPAN_S, "this machine is too slow for this test"
    assert (len(admitted), len(refused)) == (ALLOWED, ASKED - ALLOWED)
    assert len({reply.worker for reply in admitted + refused}) >= min(workers, 3)

    assert sorted(int(reply.headers["x-ratelimit-remaining"]) for reply in admitted) == list(range(ALLOWED))
    assert {reply.headers["x-ratelimit-limit"] for reply in admitted + refused} == {str(ALLOWED)}
    for reply in refused:
        body = reply.json()
        assert body["error"] == "Rate limit exceeded"
        assert body["message"] == "Too many LLM requests, please wait before trying again."
        assert body["code"] == "rate_limited"
        assert body["requestId"] == reply.headers["x-request-id"]
        assert reply.headers["retry-after"] == str(body["retryAfter"])
        assert 0 < body["retryAfter"] <= SPAN_S

    # The reset is the moment at which the oldest leaves: before it nobody passes, just after it somebody does.
    reset_ms = min(int(reply.headers["x-ratelimit-reset"]) for reply in refused)
    time.sleep(max(0.0, reset_ms / 1000 - time.time() - 1.0))
    assert not sorted_out(flood(house, number=1))[0]
    wait_s = refused[0].json()["retryAfter"]
    time.sleep(max(0.0, began + wait_s + 0.2 - time.monotonic()))
    admitted, refused = sorted_out(flood(house))
    assert (len(admitted), len(refused)) == (ALLOWED, ASKED - ALLOWED)


def test_who_waits_as_long_as_told_is_let_in(build: Build) -> None:
    house = build('workers = 4\nlimit_llm = "3/1s"').start()
    for _ in range(2):
        refused = sorted_out(flood(house, number=8))[1]
        waits = {reply.json()["retryAfter"] for reply in refused}
        assert waits
        time.sleep(max(waits))
        assert len(sorted_out(flood(house, number=3))[0]) >= 1


def test_each_address_has_a_window_of_its_own(build: Build) -> None:
    house = build('workers = 4\nlimit_llm = "20/60s"').start()

    async def all_at_once() -> list[list[Answered]]:
        asked = [{"prompt": "the same"}] * ASKED
        return await asyncio.gather(*(at_once(house.port, asked, f"127.0.0.{host}") for host in (2, 3, 4)))

    for replies in run(all_at_once()):
        assert len(sorted_out(replies)[0]) == ALLOWED
    assert len(house.calls()) == 1


def test_nobody_gets_a_window_by_claiming_to_come_from_elsewhere(build: Build) -> None:
    claims = {"X-Forwarded-For": "10.0.0.{}", "Forwarded": "for=10.0.0.{}", "X-Real-IP": "10.0.0.{}"}
    same = [{"prompt": "the same"}] * ASKED
    house = build('workers = 2\nlimit_llm = "20/60s"').start()
    assert len(sorted_out(run(at_once(house.port, same, headers=claims)))[0]) == ALLOWED
    behind = build('workers = 2\nlimit_llm = "20/60s"\nopen = true\ntrusted_proxies = ["127.0.0.1"]').start()
    assert len(sorted_out(run(at_once(behind.port, same, headers=claims)))[0]) == ASKED
    one = {"X-Forwarded-For": "10.9.9.{}, 10.8.8.8"}  # what the trusted hop saw counts, not what it was told
    assert len(sorted_out(run(at_once(behind.port, same, headers=one)))[0]) == ALLOWED


def test_no_span_ever_holds_more_than_the_limit(build: Build) -> None:
    """Ask without a pause for some spans; by the clock of the machine no stretch of a span has more admissions."""
    house = build('workers = 4\nlimit_llm = "10/1s"').start()

    async def press() -> list[tuple[float, float]]:
        passed: list[tuple[float, float]] = []
        end = time.monotonic() + 3.5

        async def one() -> None:
            while time.monotonic() < end:
                sent = time.monotonic()
                if (await post(house.port, {"prompt": "again"})).status == 200:
                    passed.append((sent, time.monotonic()))

        await asyncio.gather(*(one() for _ in range(6)))
        return passed

    passed = run(press())
    assert len(passed) >= 30
    for begin, _ in passed:
        # Surely inside a span that starts at `begin`: sent after it, and answered before its end.
        inside = [1 for sent, answered in passed if sent >= begin and answered < begin + 1.0]
        assert len(inside) <= 10


def test_a_flood_of_nonsense_is_stopped_by_the_second_window_and_leaves_the_first_alone(build: Build) -> None:
    house = build('workers = 4\nlimit_llm = "20/60s"\nlimit_refused = "30/60s"').start()
    replies = run(at_once(house.port, [{"promt": "x"}] * 40))
    assert sorted(reply.status for reply in replies) == [400] * 30 + [429] * 10
    assert house.ask("a question").headers["x-ratelimit-remaining"] == "19"
    assert request_now(house.port, "/health").status == 200
