"""A vendor that remembers: every prompt that it was asked, and when its answer was out, for runs that are killed."""

import asyncio
import hashlib
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.providers.upstream import Exchange, completion, piece

# An answer that left the vendor is on its way through a socket, a process that may be busy, and a file: a kill within
# this span of it may cost it. Every other repetition is an answer that was paid for twice.
ON_ITS_WAY_S = 1.0


def told(prompt: str) -> str:
    """Return what the vendor answers to a prompt: another text for every other prompt."""
    return "out-" + hashlib.sha256(prompt.encode()).hexdigest()[:16]


@dataclass
class Calls:
    """Hold one prompt's calls: when each began, and when its answer was out (0: it never was)."""

    began_s: list[float] = field(default_factory=list)
    out_s: list[float] = field(default_factory=list)
    left: int = 0  # callers that hung up first


class Memory:
    """Answer each prompt with its digest, after a while, and remember."""

    def __init__(self, dice: random.Random, least_s: float = 0.1, most_s: float = 0.4) -> None:
        self.calls: dict[str, Calls] = defaultdict(Calls)
        self.kills_s: list[float] = []
        self._dice = dice
        self._span_s = (least_s, most_s)
        self.refuses: Callable[[str], bool] = lambda prompt: False
        self.stalls: Callable[[str], bool] = lambda prompt: False

    async def play(self, exchange: Exchange) -> None:
        """Answer one request (an upstream's play)."""
        if exchange.seen.method == "GET":
            exchange.reply(200, b'{"object": "list", "data": [{"id": "m", "object": "model"}]}')
            return
        body: dict[str, Any] = exchange.seen.json
        prompt = body["messages"][-1]["content"]
        calls = self.calls[prompt]
        number = len(calls.began_s)
        calls.began_s.append(time.monotonic())
        calls.out_s.append(0.0)
        if self.refuses(prompt):
            exchange.reply(400, b'{"error": {"message": "No.", "type": "invalid_request_error"}}')
            return
        pause_s = 3600.0 if self.stalls(prompt) else self._dice.uniform(*self._span_s)
        try:
            async with asyncio.timeout(pause_s):
                await exchange.gone.wait()
            calls.left += 1
            return
        except TimeoutError:
            pass
        if body.get("stream"):
            exchange.open_stream()
            exchange.event(piece(told(prompt)))
            exchange.event(piece(finish="stop"))
            exchange.event(piece(choices=[], usage={"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}))
            exchange.chunk(b"data: [DONE]\n\n")
            exchange.close_stream()
        else:
            exchange.reply(200, json.dumps(completion(told(prompt))).encode())
        calls.out_s[number] = time.monotonic()

    def paid_twice(self) -> list[str]:
        """Return prompts that were asked again although their answer had arrived."""
        return [
            prompt
            for prompt, calls in self.calls.items()
            if any(out_s and not self._was_killed_about(out_s) for out_s in calls.out_s[:-1])
        ]

    def spared(self) -> int:
        """Return how many answers were out well before a kill: what a run that begins anew would ask again."""
        last_s = max(self.kills_s, default=0.0)
        outs = [out_s for calls in self.calls.values() for out_s in calls.out_s if out_s]
        return sum(out_s + ON_ITS_WAY_S < last_s for out_s in outs)

    def _was_killed_about(self, out_s: float) -> bool:
        return any(out_s - 0.1 <= kill_s <= out_s + ON_ITS_WAY_S for kill_s in self.kills_s)
