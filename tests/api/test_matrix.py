"""Every door × every vendor's shape × plain or streamed × answers, tools, refusals and answers that break off.

Each cell says: the status; a reply that the door's own clients take; what was booked; that nothing was stored of a
failure; that no key shows in an address, a reply or a log line.
"""

import asyncio
from collections.abc import Iterable
from itertools import product
from typing import Any

import pytest
import structlog
from tests.api.conftest import Client, Response, World
from tests.api.doorshapes import DOORS, KEY, TOOL, Door
from tests.api.vendorscenes import (
    CACHED_TOKENS,
    COMPLETION_TOKENS,
    PROMPT_TOKENS,
    RETRY_AFTER_S,
    SHAPES,
    TEXT,
    WORDS,
    Scene,
    Shape,
    Stage,
)
from tests.api.vendorscenes import KEY as VENDOR_KEY

from askonce.domain.errors import AskonceError
from askonce.domain.ledger import CallRow
from askonce.domain.watching import Course
from askonce.routing import attempts
from askonce.telemetry.requests import RequestLog

SAID = Scene("text")
CALLED = Scene(
    "tools",
    calls=(
        {"id": "call_1", "name": TOOL, "input": {"city": "Oslo"}},
        {"id": "call_2", "name": TOOL, "input": {"city": "Rome"}},
    ),
)
# A vendor's status, ours, and the code under which it is booked.
REFUSALS = (
    (400, 400, "provider_rejected_request"),
    (401, 502, "provider_auth_failed"),
    (429, 503, "provider_rate_limited"),
    (500, 502, "provider_error"),
)
CHARGED_NANO = PROMPT_TOKENS * 2_500 + COMPLETION_TOKENS * 10_000  # the world's price
GUESSED_NANO = 2_500 + len(WORDS[0]) * 10_000  # what the world's meter guesses of the first word
# What of that is known where the vendor tells its usage as it goes: all of the prompt, and more words than came.
TELLING = ("anthropic", "gemini")
TOLD_NANO = PROMPT_TOKENS * 2_500 + max(COMPLETION_TOKENS, len(WORDS[0])) * 10_000


def cells(doors: Iterable[Door]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("door", "shape", "stream"),
        [
            pytest.param(door, shape, stream, id=f"{door.path[1:]}-{shape.name}-{'stream' if stream else 'plain'}")
            for door, shape, stream in product(doors, SHAPES, (False, True))
        ],
    )


CELLS = cells(DOORS)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once: how long that waits is tested elsewhere."""
    monkeypatch.setattr(attempts, "PAUSE_S", 0.001)


class Logged(World):
    """A gateway that knows one key and writes its log."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = [(KEY, "t")]
        self.log = RequestLog()

    def paid(self, row: CallRow, course: Course) -> None:
        super().paid(row, course)
        self.log.paid(row)

    def failed(self, error: AskonceError) -> None:
        super().failed(error)
        self.log.failed(error)

    def defect(self, error: BaseException) -> None:
        raise AssertionError(error)


class Cell:
    """Ask one door over one vendor, and hold what came of it."""

    def __init__(self, door: Door, client: Client, stage: Stage) -> None:
        self.door = door
        self.client = client
        self.stage = stage
        self.replies: list[Response] = []

    async def ask(self, *, stream: bool, tools: bool = False) -> Response:
        body = self.door.body(tools=tools, stream=stream)
        reply = await self.client.post(body, self.door.path, headers={"authorization": f"Bearer {KEY}"})
        self.replies.append(reply)
        return reply


def act(door: Door, shape: Shape, scene: Scene, story: Any) -> World:
    """Tell a story in a fresh world, then look for keys where none may be."""
    world = Logged()

    async def told(client: Client) -> None:
        async with shape.stage(scene) as stage:
            stage.provider.name = "fake"  # as the world routes
            world.provider = stage.provider
            cell = Cell(door, Client(world.build()), stage)
            await story(cell)
            world.log.flush()
            for seen in stage.seen:
                assert VENDOR_KEY in str(seen.headers)
                assert VENDOR_KEY not in seen.path + seen.body.decode()
                assert KEY not in str(seen)
            for reply in cell.replies:
                assert VENDOR_KEY not in str(reply)
                assert KEY not in str(reply)

    with structlog.testing.capture_logs() as logged:
        world.run(told)
    assert logged
    assert VENDOR_KEY not in str(logged)
    assert KEY not in str(logged)
    return world


def check_tokens(tokens: tuple[int, int, int]) -> None:
    assert tokens == (PROMPT_TOKENS, CACHED_TOKENS, COMPLETION_TOKENS)


@CELLS
def test_an_answer_is_whole_paid_once_and_kept(door: Door, shape: Shape, stream: bool) -> None:
    async def story(cell: Cell) -> None:
        first = await cell.ask(stream=stream)
        others = [await cell.ask(stream=mode) for mode in (stream, not stream)]
        for reply, mode in zip([first, *others], (stream, stream, not stream), strict=True):
            assert reply.status == 200
            told = door.told(reply, stream=mode)
            assert (told.text, told.calls, told.finish) == (TEXT, (), "stop")
            check_tokens(told.tokens)
        assert first.headers["cache-status"].startswith("askonce; fwd=miss")
        assert all(other.headers["cache-status"].startswith("askonce; hit") for other in others)
        assert cell.stage.calls == 1

    (record,) = (world := act(door, shape, SAID, story)).records
    paid = record
    assert (paid.origin.tenant, paid.provider, paid.model) == ("t", "fake", "m")
    assert (paid.ending, paid.counted) == ("answered", True)
    assert (paid.prompt_tokens, paid.completion_tokens) == (PROMPT_TOKENS, COMPLETION_TOKENS)
    assert paid.cost_nano == CHARGED_NANO
    assert record.stored
    assert world.failures == []


@cells(door for door in DOORS if door.offers_tools)
def test_calls_of_tools_are_whole_and_kept(door: Door, shape: Shape, stream: bool) -> None:
    async def story(cell: Cell) -> None:
        first = await cell.ask(stream=stream, tools=True)
        others = [await cell.ask(stream=mode, tools=True) for mode in (stream, not stream)]
        for reply, mode in zip([first, *others], (stream, stream, not stream), strict=True):
            assert reply.status == 200
            told = door.told(reply, stream=mode)
            assert (told.text, told.finish) == (TEXT, "tool_calls")
            assert told.calls == tuple((call["id"], call["name"], call["input"]) for call in CALLED.calls)
            check_tokens(told.tokens)
        assert cell.stage.calls == 1

    world = act(door, shape, CALLED, story)
    assert [(r.ending, r.cost_nano, r.stored) for r in world.records] == [("answered", CHARGED_NANO, True)]


@CELLS
@pytest.mark.parametrize(("status", "ours", "code"), REFUSALS)
def test_a_refusal_is_told_in_the_doors_words(
    door: Door, shape: Shape, stream: bool, status: int, ours: int, code: str
) -> None:
    async def story(cell: Cell) -> None:
        reply = await cell.ask(stream=stream)
        assert reply.status == ours
        assert reply.headers["content-type"] == "application/json"
        assert door.refused(reply)
        if status in (429, 500):
            assert reply.headers["retry-after"] == str(RETRY_AFTER_S)
        assert cell.stage.calls == 1

    world = act(door, shape, Scene(str(status), status=status), story)
    check_failed(world, code, times=1, cost_nano=0)


@CELLS
def test_nothing_before_the_first_byte_is_tried_once_more(door: Door, shape: Shape, stream: bool) -> None:
    async def story(cell: Cell) -> None:
        reply = await cell.ask(stream=stream)
        assert reply.status == 502
        assert door.refused(reply)
        assert cell.stage.calls == 2

    check_failed(act(door, shape, Scene("silent", breaks="first"), story), "provider_error", times=2, cost_nano=0)


@CELLS
@pytest.mark.parametrize("breaks", ["cut", "politely"])
def test_an_answer_that_breaks_off_is_never_taken_for_whole(
    door: Door, shape: Shape, stream: bool, breaks: str
) -> None:
    async def story(cell: Cell) -> None:
        reply = await cell.ask(stream=stream)
        if not stream:
            assert (reply.status, cell.stage.calls) == (502, 2)
            assert door.refused(reply)
            return
        assert (reply.status, cell.stage.calls) == (200, 1)
        text, sentence = door.broken(reply)
        assert text == WORDS[0]
        assert sentence

    world = act(door, shape, Scene(breaks, breaks=breaks), story)
    if stream:
        check_failed(world, "provider_error", times=1, cost_nano=TOLD_NANO if shape.name in TELLING else GUESSED_NANO)
    else:
        check_failed(world, "provider_error", times=2, cost_nano=0)


def check_failed(world: World, code: str, *, times: int, cost_nano: int) -> None:
    """Assert that each call was booked as failed, with what it cost, and that nothing is kept."""
    assert [(r.ending, r.counted, r.stored) for r in world.records] == [("failed", False, False)] * times
    assert {r.error_code for r in world.records} == {code}
    assert sum(r.cost_nano for r in world.records) == cost_nano
    totals = asyncio.run(world.state.books.totals("t"))
    assert (totals.failed, totals.misses, totals.entries, totals.spent_nano) == (times, 0, 0, cost_nano)
