"""Ask the same from 1,000 connections at once, over 4 workers, half of them streamed: how often is the vendor asked?

What a thousand answers take on their way is not the flight's doing: a bare server that releases as many, of the same
size, at one moment is the yardstick.
"""

import asyncio
import re
from collections import Counter
from pathlib import Path

import uvloop
from msgspec import Struct

from bench import questions
from bench.clients import Listener, ask_all, connect, request
from bench.figures import Result, Scale, doubts, median
from bench.servers import ANY_CORE, TRUSTED, askonce, at_vendor, crowd, get_json, vendor
from bench.vendor import WHOLE

ASKING, WORKERS = 1_000, 4
VENDOR_MS = 200  # plain after so long; streamed in so many chunks over the same time
CHUNKS = 10
DOOR = "/v1/chat/completions"
TARGET_MS = 50.0  # behind the leader, and what the transfer takes anyway
_CACHE = re.compile(rb"\r\ncache-status: ([^\r]+)\r\n")
_STATES = {b"hit": "hit", b"collapsed": "coalesced"}
_RELEASED = re.compile(rb"\r\nx-released-ns: (\d+)\r\n")


class Flown(Struct, frozen=True):
    """Hold one flight: provider calls, how the answers came about, and milliseconds behind the vendor's last byte."""

    calls: int
    states: Counter[str]
    paid_ms: float
    last_ms: float


def run(folder: Path, scale: Scale) -> list[Result]:
    """Fly round by round, each with a new question."""
    print(f"{ASKING} at once over {WORKERS} workers, half streamed, vendor takes {VENDOR_MS} ms")
    manner = ("--delay-ms", str(VENDOR_MS), "--chunks", str(CHUNKS), "--gap-ms", str(VENDOR_MS / CHUNKS))
    flights = []
    settings = f"{TRUSTED}\nworkers = {WORKERS}"
    transfers: list[float] = []
    with (
        vendor(*manner) as port,
        crowd(ASKING, len(WHOLE)) as crowd_port,
        askonce(folder / "flights", at_vendor(port, settings), ANY_CORE) as server,
    ):
        for number in range(scale.rounds):
            transfers.append(uvloop.run(_release(crowd_port)))
            flights.append(uvloop.run(_fly(server.port, port, number)))
            flown = flights[-1]
            print(
                f"round {number + 1}: {flown.calls} provider call(s), {dict(flown.states)}; "
                f"behind the vendor's last byte: payer {flown.paid_ms:.0f} ms, last follower {flown.last_ms:.0f} ms; "
                f"a bare server's last answer {transfers[-1]:.0f} ms"
            )
    calls = max(flown.calls for flown in flights)
    paid, last = median([flown.paid_ms for flown in flights]), median([flown.last_ms for flown in flights])
    behind, transfer = median([flown.last_ms - flown.paid_ms for flown in flights]), median(transfers)
    return [
        Result("flights", f"provider calls for {ASKING:,} alike, worst", str(calls), "1", calls == 1),
        Result("flights", "behind the vendor: payer, last follower", f"{paid:.0f} ms, {last:.0f} ms"),
        Result(
            "flights",
            "last follower behind the payer",
            f"{behind:.0f} ms",
            f"< {TARGET_MS:.0f} + {transfer:.0f} ms of transfer",
            behind < TARGET_MS + transfer,
            doubts(transfers, "the bare transfer"),
        ),
    ]


async def _fly(port: int, vendor_port: int, number: int) -> Flown:
    asked_before = len(await asyncio.to_thread(get_json, f"http://127.0.0.1:{vendor_port}/calls"))
    listeners = await connect(port, ASKING)
    bodies = (questions.chat(f"flight {number}", stream=caller % 2 == number % 2) for caller in range(ASKING))
    await ask_all(listeners, [request(port, DOOR, body, caller) for caller, body in enumerate(bodies)])
    calls = (await asyncio.to_thread(get_json, f"http://127.0.0.1:{vendor_port}/calls"))[asked_before:]
    ended_ns = max(call[1] for call in calls)
    states = [(_state(listener), (listener.ended_ns - ended_ns) / 1e6) for listener in listeners]
    return Flown(
        calls=len(calls),
        states=Counter(state for state, _ in states),
        paid_ms=next(behind for state, behind in states if state == "miss"),
        last_ms=max(behind for _, behind in states),
    )


async def _release(port: int) -> float:
    """Return how many milliseconds after their release the last of as many answers of a bare server had come."""
    listeners = await connect(port, ASKING)
    await ask_all(listeners, [request(port, DOOR, questions.chat(), caller) for caller in range(ASKING)])
    released = [_RELEASED.search(listener.data) for listener in listeners]
    since_ns = min(int(found[1]) for found in released if found)
    return (max(listener.ended_ns for listener in listeners) - since_ns) / 1e6


def _state(listener: Listener) -> str:
    found = _CACHE.search(listener.data)
    if found is None:
        raise SystemExit(bytes(listener.data).decode())
    told = found[1].split(b"; ")
    return next((state for word, state in _STATES.items() if word in told), "miss")
