"""A webhook hears of an end until it has it, later and later, in the same words each time; no other waits for it."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection

import pytest
from msgspec import Raw
from msgspec.structs import replace
from tests.state.statefakes import HandClock
from tests.workflows.workflow_world import MemoryExecutions

from askonce.domain.errors import DatabaseAway
from askonce.domain.executions import Execution, ExecutionStatus, Notice, NoticeState, Submission, Submitter
from askonce.wire.signature import SIGNATURE, sign
from askonce.workflows import deliveries as delivering
from askonce.workflows.deliveries import (
    FIRST_WAIT_MS,
    GIVE_UP_MS,
    LONGEST_WAIT_MS,
    MOST_OF_A_HOST,
    TAKEN_MS,
    Deliveries,
    Post,
)

KEYS = (b"new", b"old")


class MemoryNotices:
    """Keep notices in a dict (port `Notices`)."""

    def __init__(self, rows: MemoryExecutions) -> None:
        self.rows = rows
        self.due: dict[str, tuple[Notice, int]] = {}
        self.away = False

    async def take(self, but_hosts: Collection[str], now_ms: int, until_ms: int) -> Notice | None:
        if self.away:
            raise DatabaseAway("Away.")
        for id, (notice, due_ms) in self.due.items():
            host = self.rows.rows[id].submission.webhook.split("/")[2]
            if due_ms <= now_ms and host not in but_hosts:
                self.due[id] = notice, until_ms
                return notice
        return None

    async def settle(self, notice: Notice, state: NoticeState) -> None:
        self.rows.notices[notice.execution] = state
        del self.due[notice.execution]
        if state.status == "pending":
            self.due[notice.execution] = replace(notice, tries=state.tries), state.next_ms


class Site:
    """Hold ends that are to be told, and receivers that answer as they are told to."""

    def __init__(self, *hosts: str) -> None:
        self.clock = HandClock()
        self.rows = MemoryExecutions()
        self.notices = MemoryNotices(self.rows)
        self.seen: list[tuple[str, bytes, dict[str, str]]] = []
        self.answers: Callable[[str], Awaitable[str]] = self.takes
        post = Post(self.send, KEYS, hosts or ("hooks.example.org", "slow.example"))
        self.deliveries = Deliveries(self.notices, self.rows, post, self.clock, dice=lambda: 1.0)

    def end(self, id: str = "e1", host: str = "hooks.example.org", status: ExecutionStatus = "succeeded") -> None:
        """End an execution."""
        asked = Submission(
            id, "generate", "generation", "job", Raw(b"{}"), Submitter("key:a", "a"), 0, webhook=f"https://{host}/x"
        )
        self.rows.rows[id] = Execution(asked, status=status, ended_ms=self.clock.wall_ms())
        self.notices.due[id] = Notice(id, 1, 0, self.clock.wall_ms()), self.clock.wall_ms()

    async def takes(self, url: str) -> str:
        return ""

    async def send(self, url: str, body: bytes, headers: tuple[tuple[str, str], ...]) -> str:
        self.seen.append((url, body, dict(headers)))
        return await self.answers(url)


def refusing(times: int) -> Callable[[str], Awaitable[str]]:
    left = [times]

    async def answer(url: str) -> str:
        left[0] -= 1
        return "it answered 503" if left[0] >= 0 else ""

    return answer


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_an_end_is_told_signed_and_without_what_was_said(status: ExecutionStatus) -> None:
    site = Site()
    site.end(status=status)
    assert asyncio.run(site.deliveries.step())
    assert not asyncio.run(site.deliveries.step())
    [(url, body, headers)] = site.seen
    told = json.loads(body)
    assert (url, told["id"], told["type"]) == ("https://hooks.example.org/x", "e1.1", f"execution.{status}")
    assert (told["execution"]["id"], told["execution"]["status"]) == ("e1", status)
    assert (told["result"], told["execution"]["links"]["self"]) == ("/llm/jobs/e1/result", "/llm/executions/e1")
    assert not {"result", "nodes", "files", "input"} & told["execution"].keys()
    assert headers[SIGNATURE] == sign(KEYS, site.clock.wall_ms() // 1000, body)
    assert site.rows.notices["e1"] == NoticeState("delivered", 1, "", 0)


def test_it_is_told_again_after_pauses_that_double_in_the_same_words() -> None:
    async def act() -> list[int]:
        site = Site()
        site.end()
        site.answers = refusing(15)
        pauses_ms = []
        while site.notices.due:
            at_ms = site.notices.due["e1"][1]
            site.clock.wall = max(site.clock.wall, at_ms)
            assert await site.deliveries.step()
            if site.notices.due:
                pauses_ms.append(site.notices.due["e1"][1] - site.clock.wall)
        assert len({body for _, body, _ in site.seen}) == 1
        assert len({headers[SIGNATURE] for *_, headers in site.seen}) == 16, "each is signed when it is sent"
        assert site.rows.notices["e1"].status == "delivered"
        return pauses_ms

    assert asyncio.run(act()) == [min(FIRST_WAIT_MS * 2**n, LONGEST_WAIT_MS) for n in range(15)]


def test_after_a_day_it_is_given_up_and_says_why() -> None:
    site = Site()
    site.end()
    site.answers = refusing(99)
    site.clock.pass_s(GIVE_UP_MS / 1000 - 1)
    asyncio.run(site.deliveries.step())
    assert site.rows.notices["e1"].status == "pending"
    site.clock.pass_s(LONGEST_WAIT_MS / 1000)
    asyncio.run(site.deliveries.step())
    assert site.rows.notices["e1"] == NoticeState("given_up", 2, "it answered 503", 0)


def test_a_host_that_may_not_be_told_any_more_is_not() -> None:
    site = Site("other.example")
    site.end()
    asyncio.run(site.deliveries.step())
    assert not site.seen
    state = site.rows.notices["e1"]
    assert (state.status, "webhook_hosts" in state.problem) == ("given_up", True)


def test_an_end_that_is_none_any_more_is_not_told() -> None:
    site = Site()
    site.end("resumed")
    site.rows.rows["resumed"] = replace(site.rows.rows["resumed"], round=2, status="running")
    site.end("other")
    asyncio.run(site.deliveries.step())
    assert [json.loads(body)["id"] for _, body, _ in site.seen] == ["other.1"]


def test_a_receiver_that_hangs_keeps_nobody_elses_waiting() -> None:
    async def act() -> None:
        site = Site()
        forever = asyncio.Event()

        async def answer(url: str) -> str:
            if "slow" in url:
                await forever.wait()
            return ""

        site.answers = answer
        for number in range(40):
            site.end(f"s{number}", "slow.example")
        for number in range(40):
            site.end(f"q{number}")
        running = asyncio.ensure_future(site.deliveries.run())
        async with asyncio.timeout(60):
            while sum(state.status == "delivered" for state in site.rows.notices.values()) < 40:
                await asyncio.sleep(0.01)
        hanging = sum("slow" in url for url, *_ in site.seen)
        assert hanging == MOST_OF_A_HOST
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(act())


def test_who_dies_at_it_leaves_it_to_the_next_in_the_same_words() -> None:
    async def act() -> None:
        site = Site()
        site.end()
        asked = asyncio.Event()

        async def hangs(url: str) -> str:
            asked.set()
            await asyncio.Event().wait()
            return ""

        site.answers = hangs
        running = asyncio.ensure_future(site.deliveries.run())
        await asked.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        site.answers = site.takes
        assert not await site.deliveries.step()
        site.clock.pass_s(TAKEN_MS / 1000)
        assert await site.deliveries.step()
        first, second = site.seen
        assert first[1] == second[1]

    asyncio.run(act())


def test_a_database_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "AWAY_S", 0.01)

    async def act() -> None:
        site = Site()
        site.end()
        site.notices.away = True
        running = asyncio.ensure_future(site.deliveries.run())
        await asyncio.sleep(0.05)
        assert not site.seen
        site.notices.away = False
        async with asyncio.timeout(60):
            while "e1" not in site.rows.notices:
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(act())
