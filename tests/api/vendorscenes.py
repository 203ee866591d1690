"""The same scenes played by vendors of every shape: an answer, calls of tools, refusals, answers that break off.

Every answer is of the same words, calls and counts, so that a test can expect the same of each vendor.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from tests.providers import anthropic_upstream, gemini_upstream
from tests.providers.upstream import Exchange, Play, Seen, Upstream, completion, piece, reply

from askonce.domain.ports import Provider
from askonce.providers.catalog import Vendor
from askonce.providers.chat import ChatProvider, fixed
from askonce.providers.gemini import GeminiProvider
from askonce.providers.http import Http, Limits
from askonce.providers.messages import MessagesProvider
from askonce.providers.script import Play as Scripted
from askonce.providers.script import Script, ScriptedCall, ScriptedError, ScriptedUsage
from askonce.providers.scripted import ScriptedProvider

KEY = "sk-of-the-house-0123456789"
LIMITS = Limits(connect_s=2, first_byte_s=5, idle_s=5, total_s=10)
WORDS = ("Hel", "lo")
TEXT = "".join(WORDS)
PROMPT_TOKENS, CACHED_TOKENS, COMPLETION_TOKENS = 9, 4, 3
RETRY_AFTER_S = 7
# How a vendor's sentence quotes the key that it was sent.
SENTENCE = f"It went wrong with the key {KEY}, you see"

Json = dict[str, Any]


@dataclass(frozen=True)
class Scene:
    """Say what a vendor does. `calls` come after the text; `status` refuses; `breaks` says when it breaks off."""

    name: str
    calls: tuple[Json, ...] = ()
    status: int = 200
    words: tuple[str, ...] = WORDS
    breaks: str = ""  # "first": before the first byte; "cut": in the middle; "politely": as if that were the end

    @property
    def text(self) -> str:
        """Return all words."""
        return "".join(self.words)

    def __str__(self) -> str:
        return self.name


@dataclass
class Stage:
    """Hold a vendor that was opened, and what it has seen."""

    provider: Provider
    seen: Sequence[Seen] = ()
    asked: list[str] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """Return how often it was asked."""
        return len(self.seen) or len(self.asked)


class Shape(Protocol):
    """Play scenes in one vendor's shape."""

    name: str

    def stage(self, scene: Scene) -> Any:
        """Open a vendor (an asynchronous context manager of a `Stage`)."""
        ...


def _refusal(scene: Scene, body: Json) -> Play:
    wait = {"Retry-After": str(RETRY_AFTER_S)} if scene.status in (429, 500) else {}
    return reply(scene.status, body, wait)


async def _hang_up(exchange: Exchange) -> None:
    exchange.cut()


def _halved(whole: Json) -> Play:
    """Play half of a plain reply."""

    async def play(exchange: Exchange) -> None:
        body = json.dumps(whole).encode()
        exchange.head(200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        exchange.send(body[: len(body) // 2])
        await asyncio.sleep(0)
        exchange.cut()

    return play


def _stream(events: Sequence[bytes], breaks: str) -> Play:
    async def play(exchange: Exchange) -> None:
        exchange.open_stream()
        for event in events:
            exchange.chunk(event)
        await asyncio.sleep(0)
        if breaks == "cut":
            exchange.cut()
        else:
            exchange.close_stream()

    return play


class OverHttp:
    """Play over a real connection. A subclass says how its shape looks."""

    name = ""
    key_header = ""
    provider: Any = None
    path = ""

    def whole(self, scene: Scene) -> Json:
        raise NotImplementedError

    def events(self, scene: Scene) -> list[bytes]:
        """Return a stream's events; where the scene breaks, up to its first words."""
        raise NotImplementedError

    def error(self, status: int) -> Json:
        raise NotImplementedError

    def streams(self, seen: Seen) -> bool:
        return bool(seen.json.get("stream"))

    def play(self, scene: Scene) -> Play:
        async def played(exchange: Exchange) -> None:
            await self._play(scene, self.streams(exchange.seen))(exchange)

        return played

    def _play(self, scene: Scene, streams: bool) -> Play:
        if scene.status != 200:
            return _refusal(scene, self.error(scene.status))
        if scene.breaks == "first":
            return _hang_up
        if streams:
            return _stream(self.events(scene), scene.breaks)
        return _halved(self.whole(scene)) if scene.breaks else reply(200, self.whole(scene))

    @asynccontextmanager
    async def stage(self, scene: Scene) -> AsyncIterator[Stage]:
        async with Upstream(self.play(scene)) as up:
            http = Http()
            vendor = Vendor("fake", "Fake", key_header=self.key_header)
            base_url = f"http://127.0.0.1:{up.port}{self.path}"
            yield Stage(self.provider(vendor, fixed(base_url, KEY), http, LIMITS), up.seen)
            await http.close()


class OpenAIShape(OverHttp):
    """Source: OpenAI's API reference, "Chat", "Streaming" and "Error codes"."""

    name, provider, path = "openai", ChatProvider, "/v1"
    usage: ClassVar[Json] = {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": COMPLETION_TOKENS,
        "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
        "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
    }

    def whole(self, scene: Scene) -> Json:
        calls = [self._call(call, json.dumps(call["input"])) for call in scene.calls]
        message = {"role": "assistant", "content": scene.text} | ({"tool_calls": calls} if calls else {})
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
        return completion("", choices=[choice], usage=self.usage)

    def events(self, scene: Scene) -> list[bytes]:
        deltas: list[Json] = [{"role": "assistant", "content": ""}, *({"content": word} for word in scene.words)]
        if scene.breaks:
            return [self._chunk(delta) for delta in deltas[:2]]
        for index, call in enumerate(scene.calls):
            given = json.dumps(call["input"])
            deltas.append({"tool_calls": [{"index": index} | self._call(call, "")]})
            for half in (given[:5], given[5:]):
                deltas.append({"tool_calls": [{"index": index, "function": {"arguments": half}}]})
        chunks = [self._chunk(delta) for delta in deltas]
        chunks.append(self._chunk({}, "tool_calls" if scene.calls else "stop"))
        return [*chunks, _data(piece(choices=[], usage=self.usage)), b"data: [DONE]\n\n"]

    def error(self, status: int) -> Json:
        return {"error": {"message": SENTENCE, "type": "some_error", "param": None, "code": None}}

    def _call(self, call: Json, arguments: str) -> Json:
        return {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": arguments}}

    def _chunk(self, delta: Json, finish: str | None = None) -> bytes:
        return _data(piece(choices=[{"index": 0, "delta": delta, "finish_reason": finish}]))


class AnthropicShape(OverHttp):
    """Source: Anthropic's API reference, "Messages", "Errors", and its guide "Streaming messages"."""

    name, provider = "anthropic", MessagesProvider
    usage: ClassVar[Json] = {
        "input_tokens": PROMPT_TOKENS - CACHED_TOKENS,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": CACHED_TOKENS,
        "output_tokens": COMPLETION_TOKENS,
    }

    def whole(self, scene: Scene) -> Json:
        calls = [anthropic_upstream.tool_block(**_renamed(call)) for call in scene.calls]
        stop = "tool_use" if calls else "end_turn"
        return anthropic_upstream.message(
            anthropic_upstream.text_block(scene.text), *calls, stop=stop, usage=self.usage
        )

    def events(self, scene: Scene) -> list[bytes]:
        events = anthropic_upstream.events_of(self.whole(scene))
        words = [at for at, event in enumerate(events) if event["type"] == "content_block_delta"]
        heard = events[: words[0] + 1] if scene.breaks else events
        return [b"event: %b\n%b" % (event["type"].encode(), _data(event)) for event in heard]

    def error(self, status: int) -> Json:
        return {"type": "error", "error": {"type": "some_error", "message": SENTENCE}, "request_id": "req_1"}


class GeminiShape(OverHttp):
    """Source: Google's "Gemini API reference" and its API design guide, "Errors"."""

    name, provider, path, key_header = "gemini", GeminiProvider, "/v1beta", "x-goog-api-key"
    usage: ClassVar[Json] = {
        "promptTokenCount": PROMPT_TOKENS,
        "cachedContentTokenCount": CACHED_TOKENS,
        "candidatesTokenCount": COMPLETION_TOKENS,
        "totalTokenCount": PROMPT_TOKENS + COMPLETION_TOKENS,
    }
    words: ClassVar = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL"}

    def streams(self, seen: Seen) -> bool:
        return ":streamGenerateContent" in seen.path

    def whole(self, scene: Scene) -> Json:
        return gemini_upstream.response({"text": scene.text}, *map(self._call, scene.calls), usageMetadata=self.usage)

    def events(self, scene: Scene) -> list[bytes]:
        said = [gemini_upstream.response({"text": word}, finish=None, usageMetadata=self.usage) for word in scene.words]
        last = gemini_upstream.response(*map(self._call, scene.calls), usageMetadata=self.usage)
        return [_data(event) for event in (said[:1] if scene.breaks else [*said, last])]

    def error(self, status: int) -> Json:
        return {"error": {"code": status, "message": SENTENCE, "status": self.words[status]}}

    def _call(self, call: Json) -> Json:
        return {"functionCall": {"id": call["id"], "name": call["name"], "args": call["input"]}}


class ScriptedShape:
    """Play without a connection; nothing stands between its words and ours."""

    name = "scripted"

    @asynccontextmanager
    async def stage(self, scene: Scene) -> AsyncIterator[Stage]:
        stage = Stage(ScriptedProvider(Script((self._play(scene),))))
        choose = stage.provider._choose  # type: ignore[attr-defined]

        def counted(*given: str) -> Any:
            stage.asked.append(given[0])
            return choose(*given)

        stage.provider._choose = counted  # type: ignore[attr-defined]
        yield stage

    def _play(self, scene: Scene) -> Scripted:
        if scene.status != 200:
            wait = RETRY_AFTER_S if scene.status in (429, 500) else None
            return Scripted(error=ScriptedError(scene.status, message="It went wrong", retry_after_s=wait))
        return Scripted(
            chunks=scene.words,
            tool_calls=tuple(ScriptedCall(call["name"], call["input"], call["id"]) for call in scene.calls),
            usage=ScriptedUsage(PROMPT_TOKENS, COMPLETION_TOKENS, CACHED_TOKENS),
            cut_after={"first": 0, "cut": 1, "politely": 1}.get(scene.breaks),
        )


def _data(event: Json) -> bytes:
    return b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"


def _renamed(call: Json) -> Json:
    return {"call_id": call["id"], "name": call["name"], "given": call["input"]}


SHAPES: tuple[Shape, ...] = (OpenAIShape(), AnthropicShape(), GeminiShape(), ScriptedShape())
