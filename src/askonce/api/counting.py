"""The door that counts a prompt's tokens in Anthropic's shape. Counting is free, whoever does it."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from askonce.api.asking import Intake
from askonce.api.entering import enter
from askonce.api.replies import Reply, error_reply, json_reply
from askonce.api.requests import Request
from askonce.api.voices import voice_of
from askonce.domain.call import Ask, CacheWish, Call, Candidate
from askonce.domain.caller import Caller
from askonce.domain.clock import Clock
from askonce.domain.errors import AskonceError
from askonce.domain.ports import Window, Windows
from askonce.wire.anthropic_door import TokenCount
from askonce.wire.anthropic_read import CountBody, read_messages
from askonce.wire.asides import with_headers

# Only the vendor knows what it charges: a count that is not its own says so.
ESTIMATED = (b"x-askonce-estimated", b"true")

VOICE = voice_of("/v1/messages")


class Counting(Protocol):
    """Count the tokens of prompts."""

    async def count(self, call: Call, candidate: Candidate) -> tuple[int, bool]:
        """Return the tokens, and whether they are estimated. Raises the provider errors of `domain.errors`."""
        ...


# Names who would answer a caller. Raises the routing errors, and `Forbidden` where its key may ask none of them.
Choose = Callable[[Ask, Caller], Candidate]


class CountDoor:
    """Answer POST /v1/messages/count_tokens."""

    def __init__(self, counting: Counting, choose: Choose, windows: Windows, intake: Intake, clock: Clock) -> None:
        self._counting = counting
        self._choose = choose
        self._windows = windows
        self._intake = intake
        self._clock = clock

    async def __call__(self, request: Request, caller: Caller, window: Window | None) -> Reply:
        """Answer one request. Raises what is refused before the admission; later errors are replies."""
        body = await request.json_body(self._intake.body_limit, self._intake.slow_bodies)
        ask = read_messages(body, caller.tenant, CacheWish(), CountBody)
        ask = with_headers(ask, request.named(VOICE.passes))
        candidate = self._choose(ask, caller)
        headers = await enter(window, self._windows, self._clock, VOICE)
        try:
            tokens, estimated = await self._counting.count(ask.call, candidate)
        except AskonceError as error:
            return error_reply(error, VOICE.error(error, request.id), headers)
        if estimated:
            headers.append(ESTIMATED)
        return json_reply(msgspec.json.encode(TokenCount(tokens)), headers)
