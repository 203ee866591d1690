"""However a vendor's bytes are cut, whoever joins when, in which process, over which door, in which mode: one call,
and everyone who stays has the same answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.api.conftest import Client, Response, World
from tests.api.doorshapes import DOORS, TOOL, Door, Told
from tests.api.vendorscenes import (
    CACHED_TOKENS,
    COMPLETION_TOKENS,
    KEY,
    LIMITS,
    PROMPT_TOKENS,
    AnthropicShape,
    GeminiShape,
    OpenAIShape,
    OverHttp,
    Scene,
)

from askonce.providers.catalog import Vendor
from askonce.providers.chat import fixed
from askonce.providers.http import Http, Request
from askonce.state.solo import SoloFlights

SHAPES: tuple[OverHttp, ...] = (OpenAIShape(), AnthropicShape(), GeminiShape())
SOON_S = 5.0  # what has all its bytes is answered in milliseconds; later is never
ROUNDS = 10  # turns of the loop in which who can move does


class Wire:
    """Stand in for the HTTP client: a reply's bytes come when the test sends them."""

    def __init__(self) -> None:
        self.exchanges = 0
        self.hung_up = 0
        self.stream = False
        self.asked = asyncio.Event()
        self.status, self.headers = 200, dict[str, str]()
        self._sent: asyncio.Queue[bytes] = asyncio.Queue()

    @asynccontextmanager
    async def exchange(self, request: Request, limits: object) -> AsyncIterator["Wire"]:
        """Take a request."""
        self.exchanges += 1
        self.stream = b'"stream":true' in request.body or ":streamGenerateContent" in request.url
        self.headers = {"content-type": "text/event-stream" if self.stream else "application/json"}
        self.asked.set()
        try:
            yield self
        finally:
            self.hung_up += 1

    def send(self, data: bytes) -> None:
        """Let bytes arrive; b"" is the end."""
        self._sent.put_nowait(data)

    async def piece(self) -> bytes:
        """Return what arrived next."""
        return await self._sent.get()

    async def body(self) -> bytes:
        """Return all until the end."""
        whole = b""
        while data := await self.piece():
            whole += data
        return whole

    def begins_with_an_event(self) -> None:
        """Do nothing: nobody is late here."""

    def heard(self) -> None:
        """Do nothing: nobody is late here."""

    async def settle(self, grace_s: float) -> None:
        """Do nothing: nothing comes behind the end here."""


class Join:
    """A client that comes: over which door, in which mode, to which process."""

    def __init__(self, door: Door, stream: bool, process: int) -> None:
        self.door = door
        self.stream = stream
        self.process = process

    def __repr__(self) -> str:
        return f"Join({self.door.path}, stream={self.stream}, process={self.process})"


class Visit:
    """A client's request under way."""

    def __init__(self, join: Join, client: Client, tools: bool) -> None:
        self.join = join
        self.left = asyncio.Event()
        body = join.door.body(tools=tools, stream=join.stream)
        self.task = asyncio.ensure_future(client.post(body, join.door.path, left=self.left))

    @property
    def stays(self) -> bool:
        return not self.left.is_set()

    def told(self, reply: Response) -> Told:
        assert reply.status == 200, reply
        return self.join.door.told(reply, stream=self.join.stream)


class Sky:
    """Two processes that share a store, with one vendor at the end of a wire."""

    def __init__(self, shape: OverHttp, scene: Scene) -> None:
        self.shape, self.scene = shape, scene
        self.wire = Wire()
        self.worlds = [World(), World()]
        one, other = self.worlds
        other.state = one.state
        flights = one.state.flights
        self.clients = []
        for number, world in enumerate(self.worlds):
            world.limits.clear()
            provider = shape.provider(
                Vendor("fake", "Fake"), fixed("http://vendor", KEY), cast(Http, self.wire), LIMITS
            )
            world.provider = provider
            one.state.flights = SoloFlights(flights._hangar, f"{number}:process")
            self.clients.append(Client(world.build()))

    def bytes(self) -> bytes:
        """Return what the vendor sends to the request that it got."""
        if self.wire.stream:
            return b"".join(self.shape.events(self.scene))
        return json.dumps(self.shape.whole(self.scene), ensure_ascii=False).encode()


async def turn() -> None:
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


async def act(sky: Sky, moves: Sequence[Any], cuts: Sequence[int]) -> list[tuple[Visit, Response]]:
    """Play the moves: a client comes, another leaves (never all), the vendor sends its next bytes, time passes."""
    tools = bool(sky.scene.calls)
    visits: list[Visit] = []
    pieces: list[bytes] = []
    for move in moves:
        if isinstance(move, Join):
            visits.append(Visit(move, sky.clients[move.process], tools))
        elif move in ("first leaves", "last leaves") and len(staying := [v for v in visits if v.stays]) > 1:
            staying[0 if move == "first leaves" else -1].left.set()
        elif move == "send":
            await asyncio.wait_for(sky.wire.asked.wait(), SOON_S)
            pieces = pieces or cut(sky.bytes(), cuts)
            if len(pieces) > 1:
                sky.wire.send(pieces.pop(0))
        await turn()
    await asyncio.wait_for(sky.wire.asked.wait(), SOON_S)
    for piece in [*(pieces or cut(sky.bytes(), cuts)), b""]:
        sky.wire.send(piece)
    replies = await asyncio.wait_for(asyncio.gather(*(visit.task for visit in visits)), SOON_S)
    return [(visit, reply) for visit, reply in zip(visits, replies, strict=True) if visit.stays]


def cut(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Cut bytes at places given in thousandths of their length; none is empty."""
    places = sorted({len(data) * place // 1000 for place in cuts} - {0, len(data)})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


# No fences, and no line ends that `code` would spell its own way.
words = st.text(st.characters(codec="utf-8", exclude_characters="`~\r"), min_size=1, max_size=8)
said = st.lists(words, min_size=1, max_size=4).map(tuple).filter(lambda some: "".join(some).strip())
cities = st.text(st.characters(codec="utf-8"), max_size=8)


def joins(doors: Sequence[Door]) -> st.SearchStrategy[Join]:
    return st.builds(Join, st.sampled_from(doors), st.booleans(), st.sampled_from([0, 1]))


def moves(doors: Sequence[Door]) -> st.SearchStrategy[list[Any]]:
    some = st.lists(
        st.one_of(joins(doors), st.sampled_from(["send", "first leaves", "last leaves", "wait"])), max_size=10
    )
    return st.tuples(joins(doors), some).map(lambda both: [both[0], *both[1]])


def check(sky: Sky, stayed: Sequence[tuple[Visit, Response]]) -> list[Told]:
    """Assert one call, booked once, and that who stayed heard the same; return what they heard."""
    assert sky.wire.exchanges == sky.wire.hung_up == 1
    records = [record for world in sky.worlds for record in world.records]
    assert [(record.ending, record.stored) for record in records] == [("answered", True)]
    assert not any(world.defects for world in sky.worlds)
    told = [visit.told(reply) for visit, reply in stayed]
    assert all(one.tokens == (PROMPT_TOKENS, CACHED_TOKENS, COMPLETION_TOKENS) for one in told)
    return told


CUTS = st.lists(st.integers(0, 1000), max_size=12)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@given(said, moves(DOORS), CUTS)
@settings(deadline=None, max_examples=40)
def test_words_are_the_same_for_all(shape: OverHttp, said: Any, moves: Any, cuts: Any) -> None:
    async def story() -> None:
        sky = Sky(shape, Scene("text", words=said))
        stayed = await act(sky, moves, cuts)
        told = check(sky, stayed)
        for (visit, _), one in zip(stayed, told, strict=True):
            assert (one.calls, one.finish) == ((), "stop")
            if visit.join.door.offers_tools:
                assert one.text == "".join(said)
            else:
                assert one.text.strip() == "".join(said).strip()  # it is code, without blank ends

    asyncio.run(story())


def calls_of(cities: Sequence[str]) -> tuple[dict[str, Any], ...]:
    return tuple({"id": f"call_{at}", "name": TOOL, "input": {"city": city}} for at, city in enumerate(cities))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@given(said, st.lists(cities, min_size=1, max_size=3), moves(DOORS[1:]), CUTS)
@settings(deadline=None, max_examples=40)
def test_calls_of_tools_are_the_same_for_all(shape: OverHttp, said: Any, cities: Any, moves: Any, cuts: Any) -> None:
    async def story() -> None:
        scene = Scene("tools", calls=calls_of(cities), words=said)
        sky = Sky(shape, scene)
        for one in check(sky, await act(sky, moves, cuts)):
            assert (one.text, one.finish) == ("".join(said), "tool_calls")
            assert one.calls == tuple((call["id"], call["name"], call["input"]) for call in scene.calls)

    asyncio.run(story())
