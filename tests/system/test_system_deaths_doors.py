"""A leader's process is killed under load while clients of every door follow it: each has a stated ending."""

import asyncio
import json
from collections.abc import Sequence

import psutil
import pytest
from tests.api.conftest import Response
from tests.api.doorshapes import DOORS, PROMPT, Door
from tests.system.clients import Answered, Line, encode, run
from tests.system.houses import USAGE, Build, House, eventually, script
from tests.system.loads import Memory, hold_against_books, press

pytestmark = pytest.mark.process
FREE = 'workers = 4\nlimit_llm = "off"\nlimit_standard = "off"'
TOLD = " ".join(map(str, range(12)))
OURS = 1  # the number of the play that answers the question of these tests; the load has its own
LOAD = f'delay_ms = 20\ntext = "Answer to {{prompt}}"\n{USAGE}'
TALE = f"delay_ms = 300\nchunk_ms = 200\nchunks = {json.dumps([f'{word} ' for word in TOLD.split()])}\n{USAGE}"
LATE = f'delay_ms = 2500\ntext = "{TOLD}"\n{USAGE}'
WAYS = {"collapsed": "coalesced", "fwd=miss": "miss", "askonce; hit": "hit"}  # the first that Cache-Status holds
LOADED = 4  # clients that ask other questions meanwhile

Way = tuple[Door, bool]
EVERY_WAY: tuple[Way, ...] = tuple((door, stream) for door in DOORS for stream in (True, False))


def question(way: Way) -> bytes:
    door, stream = way
    body = door.body(tools=False, stream=stream) | {"model": "demo"}
    return encode("POST", door.path, json.dumps(body).encode())


def ours(house: House) -> int:
    """Return how often the question of these tests was asked of the provider."""
    return sum(call["play"] == OURS for call in house.calls())


class Party:
    """Hold connections, opened before there is any load: one whose process will lead, the others to other processes."""

    def __init__(self, pid: int, leader: Line, followers: list[Line]) -> None:
        self.pid = pid
        self.leader = leader
        self.followers = followers

    @classmethod
    async def gather(cls, house: House, count: int) -> "Party":
        leader = await Line.to(house.port)
        pid = await _owner(house, leader)
        followers: list[Line] = []
        while len(followers) < count:
            line = await Line.to(house.port)
            if await _owner(house, line) == pid:
                line.hang_up()
            else:
                followers.append(line)
        return cls(pid, leader, followers)

    async def board(self, house: House, leading: Way, following: Sequence[Way]) -> None:
        """Begin the call, then follow it."""
        await self.leader.send(question(leading))
        await asyncio.to_thread(eventually, lambda: ours(house), "the call is made")
        for line, way in zip(self.followers, following, strict=True):
            await line.send(question(way))


async def _owner(house: House, line: Line) -> int:
    await line.ask("GET", "/health")
    return await asyncio.to_thread(house.owner, line.local_port)


def reply_of(answered: Answered) -> Response:
    assert answered.whole, answered
    return Response(answered.status, answered.headers, answered.body)


def check_whole(way: Way, answered: Answered) -> None:
    door, stream = way
    assert answered.status == 200, answered
    assert door.told(reply_of(answered), stream=stream).text.strip() == TOLD


def note(memory: Memory, answered: Answered) -> None:
    """Count an answer as the caller was told that it came about."""
    told = answered.headers["cache-status"]
    memory.ways[next(way for word, way in WAYS.items() if word in told)] += 1


@pytest.mark.parametrize("leading", [(door, True) for door in DOORS[1:]], ids=lambda way: way[0].path)
def test_streams_with_text_end_with_their_doors_error_and_all_others_are_answered(build: Build, leading: Way) -> None:
    house = build(FREE, script(f'contains = "{PROMPT}"\n{TALE}', LOAD)).start(with_prices=True)
    memory = Memory()

    async def act() -> None:
        party = await Party.gather(house, len(EVERY_WAY))
        await press(house, memory, lambda: harm(party), LOADED)

    async def harm(party: Party) -> None:
        await party.board(house, leading, EVERY_WAY)
        lines = list(zip(EVERY_WAY, party.followers, strict=True))
        streams, plain = [one for one in lines if one[0][1]], [one for one in lines if not one[0][1]]
        begun = [(await line.head(), await words(line)) for _, line in streams]
        psutil.Process(party.pid).kill()
        for way, reply in zip(plain, await asyncio.gather(*(line.reply() for _, line in plain)), strict=True):
            check_whole(way[0], reply)
            note(memory, reply)
        for ((door, _), line), (head, begin) in zip(streams, begun, strict=True):
            lost = Answered(*head, begin + await rest(line))
            text, sentence = door.broken(reply_of(lost))
            assert TOLD.startswith(text.strip())
            assert text
            assert "lost" in sentence
        memory.broken += len(streams) + 1

    run(act())
    assert not memory.others
    assert memory.broken <= LOADED + len(DOORS) + 1  # those that followed a stream, and who led
    assert ours(house) == 2
    hold_against_books(house, memory)


async def words(line: Line) -> bytes:
    """Read a stream until it has told some of the text."""
    read = b""
    while b'"0 "' not in read:
        read += await line.piece()
    return read


async def rest(line: Line) -> bytes:
    read = b""
    while piece := await line.piece():
        read += piece
    return read


def test_before_any_text_nobody_notices_over_any_door(build: Build) -> None:
    house = build(FREE, script(f'contains = "{PROMPT}"\n{LATE}', LOAD)).start(with_prices=True)
    memory = Memory()

    async def act() -> None:
        party = await Party.gather(house, len(EVERY_WAY))
        await press(house, memory, lambda: harm(party), LOADED)

    async def harm(party: Party) -> None:
        await party.board(house, (DOORS[1], True), EVERY_WAY)
        await asyncio.sleep(0.2)  # what was sent has arrived
        psutil.Process(party.pid).kill()
        replies = await asyncio.gather(*(line.reply() for line in party.followers))
        for way, reply in zip(EVERY_WAY, replies, strict=True):
            check_whole(way, reply)
        # Whose stream became the leader's was told so before it was known; the books are held against the sum.
        memory.ways["miss"] += 1
        memory.ways["coalesced"] += len(replies) - 1
        memory.broken += 1

    run(act())
    assert not memory.others
    assert ours(house) == 2
    hold_against_books(house, memory)
