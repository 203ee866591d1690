"""The provider against a real server on loopback that plays Gemini's answers, as its API reference shows them."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import pytest
from tests.providers.gemini_upstream import events, response
from tests.providers.upstream import Exchange, Play, Upstream, answer, heard, reply, silence

from askonce.domain.answer import Answer, CacheState, Delta, Entry, Piece, ThinkingDelta, ToolDelta, pack
from askonce.domain.call import CacheWish, Call, Message, Params, Reasoning
from askonce.domain.content import Text, Thinking, ToolCall
from askonce.domain.errors import (
    AskonceError,
    ContentRefused,
    ContextExceeded,
    Invalid,
    ProviderBusy,
    ProviderDenied,
    ProviderFailed,
    ProviderRejected,
    UnknownModel,
)
from askonce.domain.ports import Provider
from askonce.domain.usage import Usage
from askonce.providers.catalog import Vendor, vendor_named
from askonce.providers.chat import ChatProvider, fixed
from askonce.providers.failures import BUSY_WAIT_S, QUOTA_WAIT_S
from askonce.providers.gemini import GeminiProvider
from askonce.providers.http import Http, Limits
from askonce.wire.anthropic_door import MESSAGES
from askonce.wire.door import Facts
from askonce.wire.gemini_contents import SEAL, SKIP
from askonce.wire.openai_door import CHAT

KEY = "not-a-real-key-0123456789"
LIMITS = Limits(connect_s=2, first_byte_s=5, idle_s=5, total_s=10)
SOON_S = 2.0
MODEL = "gemini-3.5-flash"
SIGNED = {"functionCall": {"name": "get_weather", "args": {"city": "Rome"}}, "thoughtSignature": "abc="}

row = vendor_named("gemini")
assert row is not None
GEMINI: Vendor = row

Test = Callable[[GeminiProvider, Upstream], Awaitable[None]]


def play(given: Play | Sequence[Play], test: Test, limits: Limits = LIMITS) -> None:
    plays = given if isinstance(given, Sequence) else [given]

    async def main() -> None:
        async with Upstream(*plays) as up:
            http = Http()
            base_url = up.base_url.removesuffix("/v1") + "/v1beta"
            try:
                await test(GeminiProvider(GEMINI, fixed(base_url, KEY), http, limits), up)
            finally:
                await http.close()

    asyncio.run(main())


def call(*, stream: bool = False, **params: Any) -> Call:
    return Call("t", (Message("system", "Be brief."), Message("user", "Hi")), Params(**params), stream)


async def everything(
    provider: GeminiProvider, asked: Call, model: str = MODEL, deadline_s: float = 10
) -> list[Piece | Answer]:
    return [item async for item in heard(provider.ask(asked, model, deadline_s))]


def test_it_is_a_provider() -> None:
    provider: Provider = GeminiProvider(GEMINI, fixed("http://127.0.0.1:1"), cast(Http, None), LIMITS)
    assert (provider.name, provider.drains, provider.drains_plain) == ("gemini", True, True)


def test_a_plain_call_gives_only_the_answer() -> None:
    async def test(provider: GeminiProvider, up: Upstream) -> None:
        (got,) = await everything(provider, call(temperature=0))
        assert isinstance(got, Answer)
        assert (got.text, got.parts, got.finish) == ("Hello", (), "stop")
        assert got.usage == Usage(9, 8, reasoning_tokens=5)
        assert (got.provider, got.model, got.model_version) == ("gemini", MODEL, "gemini-3.5-flash-001")
        assert got.took_ms >= got.first_token_ms >= 1
        seen = up.seen[0]
        assert (seen.method, seen.path) == ("POST", f"/v1beta/models/{MODEL}:generateContent")
        assert seen.json == {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
            "generationConfig": {"temperature": 0},
        }

    play(reply(200, response({"text": "Hello"})), test)


def test_a_stream_gives_its_pieces_and_then_the_answer() -> None:
    async def test(provider: GeminiProvider, up: Upstream) -> None:
        *pieces, got = await everything(provider, call(stream=True, reasoning=Reasoning("low")))
        assert pieces == [
            ThinkingDelta("Hm"),
            Delta("Look."),
            ThinkingDelta("", SEAL + "abc="),
            ToolDelta(0, "call_2_0", "get_weather", '{"city":"Rome"}'),
        ]
        assert isinstance(got, Answer)
        assert got.finish == "tool_calls"
        assert got.parts == (
            Thinking("Hm"),
            Text("Look."),
            Thinking("", SEAL + "abc="),
            ToolCall("call_2_0", "get_weather", '{"city":"Rome"}'),
        )
        assert up.seen[0].path == f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"

    first = response({"text": "Hm", "thought": True}, finish=None)
    play(events(first, response({"text": "Look."}, finish=None), response(SIGNED)), test)


def test_the_key_is_in_its_header_and_never_in_the_address() -> None:
    async def test(provider: GeminiProvider, up: Upstream) -> None:
        await everything(provider, call())
        await everything(provider, call(stream=True))
        await provider.models()
        assert [seen.headers["x-goog-api-key"] for seen in up.seen] == [KEY] * 3
        assert not any(KEY in seen.path or "authorization" in seen.headers for seen in up.seen)

    play([reply(200, response({"text": "x"})), events(response({"text": "x"})), reply(200, {"models": []})], test)


def test_a_stream_leaves_its_connection_for_the_next_call() -> None:
    async def test(provider: GeminiProvider, up: Upstream) -> None:
        for _ in range(3):
            await everything(provider, call(stream=True))
        assert up.connections == 1

    play(events(response({"text": "Hello"})), test)


def test_a_server_that_ignores_stream_is_understood() -> None:
    async def test(provider: GeminiProvider, up: Upstream) -> None:
        delta, got = await everything(provider, call(stream=True))
        assert delta == Delta("Hello")
        assert isinstance(got, Answer)

    play(reply(200, response({"text": "Hello"})), test)


def test_usage_that_does_not_come_is_estimated() -> None:
    async def test(provider: GeminiProvider, up: Upstream) -> None:
        (got,) = await everything(provider, call())
        assert isinstance(got, Answer)
        assert got.usage.estimated

    play(reply(200, response({"text": "Hello"}, usageMetadata=None)), test)


@pytest.mark.parametrize(
    "given",
    [
        events(response({"text": "Hel"}, finish=None)),
        events(response({"text": "Hel"}, finish=None), politely=False),
        events(response({"text": "Hel"}, finish=None), {"error": {"code": 503, "status": "UNAVAILABLE"}}),
        events(response({"text": "Hel"}, finish=None), response(finish="MALFORMED_FUNCTION_CALL")),
    ],
    ids=["ended early", "cut", "error", "a call that miscarried"],
)
def test_a_stream_that_breaks_fails_after_its_pieces(given: Play) -> None:
    async def test(provider: GeminiProvider, up: Upstream) -> None:
        asking = heard(provider.ask(call(stream=True), MODEL, 10))
        assert await anext(asking) == Delta("Hel")
        with pytest.raises(ProviderFailed):
            await anext(asking)

    play(given, test)


@pytest.mark.parametrize("given", [reply(200, b"<html>"), reply(200, {}), reply(200, []), reply(204, b"")])
def test_nonsense_is_the_vendors_failure(given: Play) -> None:
    async def test(provider: GeminiProvider, up: Upstream) -> None:
        with pytest.raises(ProviderFailed):
            await everything(provider, call())

    play(given, test)


def test_a_blocked_prompt_is_refused_content() -> None:
    async def test(provider: GeminiProvider, up: Upstream) -> None:
        for stream in (False, True):
            with pytest.raises(ContentRefused, match="Google Gemini refused the prompt: SAFETY"):
                await everything(provider, call(stream=stream))

    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}}
    play([reply(200, blocked), events(blocked)], test)


def error(status: int, word: str, message: str = "", *details: dict[str, Any]) -> Play:
    return reply(status, {"error": {"code": status, "message": message, "status": word, "details": list(details)}})


BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}
PER_DAY = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "RequestsPerDay"}]}


@pytest.mark.parametrize(
    ("given", "expected", "wait"),
    [
        # Gemini API, "Troubleshooting guide", "Rate limits".
        (error(400, "INVALID_ARGUMENT", f"API key not valid: {KEY}", BAD_KEY), ProviderDenied, None),
        (error(403, "PERMISSION_DENIED", "Your API key was reported as leaked."), ProviderDenied, None),
        (error(400, "FAILED_PRECONDITION", "User location is not supported."), ProviderDenied, None),
        (error(400, "FAILED_PRECONDITION", "The File abc is not in an ACTIVE state."), ProviderRejected, None),
        (error(400, "INVALID_ARGUMENT", "Unknown name \"x\""), ProviderRejected, None),
        (
            error(400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens (8)."),
            ContextExceeded,
            None,
        ),
        (error(404, "NOT_FOUND", "models/x is not found for API version v1beta"), UnknownModel, None),
        (error(429, "RESOURCE_EXHAUSTED", "Quota", RETRY), ProviderBusy, 35),
        (error(429, "RESOURCE_EXHAUSTED", "Quota"), ProviderBusy, BUSY_WAIT_S),
        (error(429, "RESOURCE_EXHAUSTED", "Quota", PER_DAY, RETRY), ProviderBusy, QUOTA_WAIT_S),
        (error(503, "UNAVAILABLE", "The model is overloaded.", RETRY), ProviderFailed, 35),
        (error(500, "INTERNAL", "An internal error has occurred."), ProviderFailed, None),
        (reply(502, b"<html>"), ProviderFailed, None),
        (reply(302, b"", {"Location": "http://127.0.0.1:1/"}), ProviderFailed, None),
    ],
)  # fmt: skip
def test_refusals_become_our_errors(given: Play, expected: type[AskonceError], wait: int | None) -> None:
    async def test(provider: GeminiProvider, up: Upstream) -> None:
        for stream in (False, True):
            with pytest.raises(expected) as caught:
                await everything(provider, call(stream=stream))
            assert caught.value.retry_after_s == wait
            assert KEY not in caught.value.message

    play(given, test)


def test_what_cannot_be_said_is_refused_before_anything_is_sent() -> None:
    async def test(provider: GeminiProvider, up: Upstream) -> None:
        with pytest.raises(Invalid, match="parallel_tool_calls"):
            await everything(provider, call(parallel_tools=False))
        for bad in ("../files", "a:b", "a/b", "", "x?key=1", "models/../files"):
            with pytest.raises(UnknownModel):
                await everything(provider, call(), bad)
        assert up.seen == []

    play(reply(200, response()), test)


def test_a_tuned_model_is_asked_in_its_own_collection() -> None:
    async def test(provider: GeminiProvider, up: Upstream) -> None:
        await everything(provider, call(), "tunedModels/mine")
        assert up.seen[0].path == "/v1beta/tunedModels/mine:generateContent"

    play(reply(200, response({"text": "x"})), test)


async def stalled(exchange: Exchange) -> None:
    exchange.open_stream()
    exchange.event(response({"text": "Hel"}, finish=None))
    await exchange.gone.wait()


@pytest.mark.parametrize("closing", ["close the iterator", "cancel the task"])
def test_leaving_a_stream_hangs_up_at_once(closing: str) -> None:
    async def test(provider: GeminiProvider, up: Upstream) -> None:
        asking = heard(provider.ask(call(stream=True), MODEL, 10))
        assert await anext(asking) == Delta("Hel")
        if closing == "close the iterator":
            await asking.aclose()  # type: ignore[attr-defined]  # the port says AsyncIterator; ours is a generator
        else:
            waiting = asyncio.ensure_future(anext(asking))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        await asyncio.wait_for(up.hung_up.wait(), SOON_S)

    play(stalled, test)


def test_the_callers_deadline_holds() -> None:
    async def test(provider: GeminiProvider, up: Upstream) -> None:
        for stream in (False, True):
            with pytest.raises(AskonceError, match="did not answer in time"):
                await everything(provider, call(stream=stream), deadline_s=0.05)

    play(silence(), test)


@pytest.mark.parametrize(
    ("given", "models", "healthy"),
    [
        (reply(200, {"models": [{"name": "models/a"}, {"name": "models/b"}]}), ("a", "b"), True),
        (reply(404, b"no such path"), (), True),
        (reply(200, b"oops"), (), True),
        (error(400, "INVALID_ARGUMENT", "", BAD_KEY), (), False),
        (reply(500, b""), (), False),
    ],
)
def test_probe_and_models_ask_for_the_list_only(given: Play, models: tuple[str, ...], healthy: bool) -> None:
    async def test(provider: GeminiProvider, up: Upstream) -> None:
        assert await provider.models() == models
        assert (await provider.probe() == "") is healthy
        assert {(seen.method, seen.path, seen.body) for seen in up.seen} == {
            ("GET", "/v1beta/models?pageSize=1000", b"")
        }

    play(given, test)


TOOL_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
CHAT_ASKED: dict[str, Any] = {
    "model": f"gemini:{MODEL}",
    "messages": [{"role": "user", "content": "Weather in Rome?"}],
    "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": TOOL_SCHEMA}}],
}
MESSAGES_ASKED: dict[str, Any] = {
    "model": f"gemini:{MODEL}",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Weather in Rome?"}],
    "tools": [{"name": "get_weather", "input_schema": TOOL_SCHEMA}],
}


def chat_goes_on(replied: Any) -> dict[str, Any]:
    """Do what an OpenAI client does that keeps the usual fields of an answer, and no others."""
    said = {key: replied["choices"][0]["message"][key] for key in ("role", "content", "tool_calls")}
    result = {"role": "tool", "tool_call_id": said["tool_calls"][0]["id"], "content": "21 C"}
    return CHAT_ASKED | {"messages": [*CHAT_ASKED["messages"], said, result]}


def messages_go_on(replied: Any) -> dict[str, Any]:
    """Do what an Anthropic client does: send the content back as it came."""
    called = next(block for block in replied["content"] if block["type"] == "tool_use")
    result = {"type": "tool_result", "tool_use_id": called["id"], "content": "21 C"}
    said = {"role": "assistant", "content": replied["content"]}
    return MESSAGES_ASKED | {"messages": [*MESSAGES_ASKED["messages"], said, {"role": "user", "content": [result]}]}


@pytest.mark.parametrize(
    ("door", "asked", "go_on", "seal"),
    [(CHAT, CHAT_ASKED, chat_goes_on, SKIP), (MESSAGES, MESSAGES_ASKED, messages_go_on, "abc=")],
    ids=["OpenAI's door, which has no place for a seal", "Anthropic's door, which has"],
)
def test_a_conversation_with_tools_goes_on_through_either_door(
    door: Any, asked: dict[str, Any], go_on: Callable[[Any], dict[str, Any]], seal: str
) -> None:
    async def test(provider: GeminiProvider, up: Upstream) -> None:
        first = door.read(json.dumps(asked).encode(), "t", CacheWish())
        (got,) = await everything(provider, first.call)
        assert isinstance(got, Answer)
        state: CacheState = "miss"
        facts = Facts(state, 0, 1, "r1", first, "gemini", MODEL)
        entry = Entry(b"k" * 32, "t", "gemini", MODEL, 0, 1, 0, 1, 1, pack(got))
        again = door.read(json.dumps(go_on(json.loads(door.render(entry, facts)))).encode(), "t", CacheWish())
        await everything(provider, again.call)
        second = up.seen[1].json["contents"]
        assert second == [
            {"role": "user", "parts": [{"text": "Weather in Rome?"}]},
            {
                "role": "model",
                "parts": [
                    {
                        "functionCall": {"id": "call_1_0", "name": "get_weather", "args": {"city": "Rome"}},
                        "thoughtSignature": seal,
                    }
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"id": "call_1_0", "name": "get_weather", "response": {"output": "21 C"}}}
                ],
            },
        ]

    play([reply(200, response(SIGNED)), reply(200, response({"text": "Warm."}))], test)


def test_a_key_goes_into_the_header_that_its_row_names() -> None:
    """Azure OpenAI v1 takes the plain shape, with its key in `api-key` (Microsoft, "Azure OpenAI v1 API")."""
    azure = vendor_named("azure")
    assert azure is not None

    async def main() -> None:
        async with Upstream(answer()) as up:
            http = Http()
            provider = ChatProvider(azure, fixed(up.base_url, "secret-key"), http, LIMITS)
            assert [item async for item in provider.ask(call(), "my-deployment", 10)]
            await http.close()
            seen = up.seen[0]
            assert seen.headers["api-key"] == "secret-key"
            assert "authorization" not in seen.headers
            assert seen.json["model"] == "my-deployment"

    asyncio.run(main())
