"""Load on a house, with a memory of what was promised to whom, to be held against its books afterwards.

What must hold however processes die, with B requests that broke off without a whole answer:

    answered hits    <= booked hits    <= answered hits + B         (the same for misses and for coalesced answers)
    booked misses    <= provider calls <= booked misses + B         (a call whose process died before it was booked)
    every question that was answered before is a hit afterwards
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.system.clients import Answered, at_once, post, run
from tests.system.houses import House

BOOKED = {"hit": "hits", "miss": "misses", "coalesced": "coalesced"}


@dataclass
class Memory:
    """Hold what callers were told."""

    ways: Counter[str] = field(default_factory=Counter)
    answered: dict[str, str] = field(default_factory=dict)  # question: its code
    broken: int = 0
    others: list[Answered] = field(default_factory=list)


async def press(house: House, memory: Memory, harm: Callable[[], Awaitable[None]], clients: int = 8) -> None:
    """Ask old and new questions over fresh connections, some streamed, until `harm` is done and a little longer."""
    over = asyncio.Event()
    dice = random.Random(4)
    base = len(memory.answered)

    async def one(name: int) -> None:
        number = 0
        while not over.is_set():
            number += 1
            fresh = number % 5 == 0 or not memory.answered
            prompt = f"question {base}/{name % 4}/{number}" if fresh else dice.choice(list(memory.answered))
            await _note(house, memory, {"prompt": prompt, "stream": dice.random() < 0.3})

    tasks = [asyncio.create_task(one(name)) for name in range(clients)]
    await harm()
    over.set()
    await asyncio.gather(*tasks)


async def _note(house: House, memory: Memory, body: dict[str, object]) -> None:
    try:
        reply = await post(house.port, body, house.headers)
    except (EOFError, ConnectionError):
        memory.broken += 1
        return
    if reply.status != 200:
        memory.others.append(reply)
    elif not reply.whole or _says_lost(reply):
        memory.broken += 1
    else:
        answer = reply.whole_answer()
        memory.ways[answer["metadata"]["cache"]] += 1
        memory.answered[str(body["prompt"])] = answer["code"]


def _says_lost(reply: Answered) -> bool:
    """Say whether a stream had passed text on when the process died that was asking for it."""
    if not reply.headers["content-type"].startswith("text/event-stream"):
        return False
    name, data = reply.events()[-1]
    return name == "error" and data["code"] == "flight_lost"


def hold_against_books(house: House, memory: Memory) -> None:
    """Check that nothing that was promised is missing; see the head of this file."""
    stats = house.stats()
    for way, booked in BOOKED.items():
        assert memory.ways[way] <= stats[booked] <= memory.ways[way] + memory.broken, (way, memory.ways, stats)
    assert stats["misses"] <= len(house.calls()) <= stats["misses"] + memory.broken
    assert sum(stats["savings"].values()) == stats["savingsNano"]
    asked = [{"prompt": prompt, "cache": {"mode": "only"}} for prompt in memory.answered]
    for at in range(0, len(asked), 50):
        replies = run(at_once(house.port, asked[at : at + 50]))
        for body, reply in zip(asked[at : at + 50], replies, strict=True):
            assert reply.status == 200, (body, reply)
            assert reply.json()["code"] == memory.answered[str(body["prompt"])]
    assert house.stats()["hits"] == stats["hits"] + len(asked)
