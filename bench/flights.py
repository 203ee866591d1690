"""Ask the same from 1,000 connections at once, over 4 workers, half of them streamed: how often is the vendor asked?"""

import asyncio
import re
from collections import Counter
from pathlib import Path

import uvloop
from msgspec import Struct

from bench import questions
from bench.clients import Listener, ask_all, connect, request
from bench.figures import Result, Scale, median
from bench.servers import ANY_CORE, TRUSTED, askonce, at_vendor, get_json, vendor

ASKING, WORKERS = 1_000, 4
VENDOR_MS = 200  # plain after so long; streamed in so many chunks over the same time
CHUNKS = 10
MODEL = "openai:gpt-4o"
_CACHE = re.compile(rb'"cached":\w+,"cache":"(\w+)"')


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
    with vendor(*manner) as port, askonce(folder / "flights", at_vendor(port, settings), ANY_CORE) as server:
        for number in range(scale.rounds):
            flights.append(uvloop.run(_fly(server.port, port, number)))
            flown = flights[-1]
            print(
                f"round {number + 1}: {flown.calls} provider call(s), {dict(flown.states)}; "
                f"behind the vendor's last byte: payer {flown.paid_ms:.0f} ms, last follower {flown.last_ms:.0f} ms"
            )
    calls = max(flown.calls for flown in flights)
    paid, last = median([flown.paid_ms for flown in flights]), median([flown.last_ms for flown in flights])
    return [
        Result("flights", f"provider calls for {ASKING:,} alike, worst", str(calls), "1", calls == 1),
        Result("flights", "behind the vendor: payer, last follower", f"{paid:.0f} ms, {last:.0f} ms"),
    ]


async def _fly(port: int, vendor_port: int, number: int) -> Flown:
    asked_before = len(await asyncio.to_thread(get_json, f"http://127.0.0.1:{vendor_port}/calls"))
    listeners = await connect(port, ASKING)
    bodies = (questions.body(f"flight {number}", MODEL, stream=caller % 2 == number % 2) for caller in range(ASKING))
    await ask_all(listeners, [request(port, "/llm/generate", body, caller) for caller, body in enumerate(bodies)])
    calls = (await asyncio.to_thread(get_json, f"http://127.0.0.1:{vendor_port}/calls"))[asked_before:]
    ended_ns = max(call[1] for call in calls)
    states = [(_state(listener), (listener.ended_ns - ended_ns) / 1e6) for listener in listeners]
    return Flown(
        calls=len(calls),
        states=Counter(state for state, _ in states),
        paid_ms=next(behind for state, behind in states if state == "miss"),
        last_ms=max(behind for _, behind in states),
    )


def _state(listener: Listener) -> str:
    found = _CACHE.search(listener.data)
    if found is None:
        raise SystemExit(bytes(listener.data).decode())
    return found[1].decode()
