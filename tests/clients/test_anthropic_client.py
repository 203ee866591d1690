"""The official `anthropic` library against a gateway as it is run, before vendors of both shapes."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic.types import Message, MessageParam, ToolParam
from tests.clients.backstage import KEY, VENDOR_KEY, Stage, stage
from tests.providers.anthropic_upstream import (
    both,
    events_of,
    failure,
    message,
    play_events,
    text_block,
    tool_block,
)
from tests.providers.upstream import Exchange as Wire
from tests.providers.upstream import Play, completion, piece, reply

pytestmark = pytest.mark.process

CLAUDE, WORKSHOP = "claude-haiku-4-5", "w-1"
HI: list[MessageParam] = [{"role": "user", "content": "Hi"}]
WEATHER: ToolParam = {
    "name": "weather",
    "description": "Tell the weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Run one gateway for all tests of this file; each asks with a system prompt of its own."""
    with stage(tmp_path_factory.mktemp("backstage")) as made:
        yield made


@pytest.fixture
def client(world: Stage) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key=KEY, base_url=world.url, max_retries=0) as made:
        yield made


def test_a_message_plain_then_streamed_then_from_the_store(
    world: Stage, client: anthropic.Anthropic, request: pytest.FixtureRequest
) -> None:
    vendor = world.play(both(text_block("Hello there")))
    asked: dict[str, Any] = {"model": CLAUDE, "max_tokens": 50, "system": request.node.name, "messages": HI}
    plain = client.messages.create(**asked)
    with client.messages.stream(**asked) as streaming:
        texts = list(streaming.text_stream)
        streamed = streaming.get_final_message()
    assert "".join(texts) == plain.content[0].text == "Hello there"
    assert (streamed.stop_reason, streamed.usage) == (plain.stop_reason, plain.usage)
    assert plain.usage.input_tokens == 9
    assert plain._request_id
    Message.model_validate(plain.model_dump(), strict=True)
    (seen,) = vendor.seen
    assert seen.headers["x-api-key"] == VENDOR_KEY
    assert KEY not in str(seen)


def test_a_live_stream_has_the_vendors_events(
    world: Stage, client: anthropic.Anthropic, request: pytest.FixtureRequest
) -> None:
    world.play(both({"type": "thinking", "thinking": "let me see", "signature": "EqQB"}, text_block("Hello there")))
    with client.messages.stream(
        model=CLAUDE, max_tokens=2000, system=request.node.name, messages=HI,
        thinking={"type": "enabled", "budget_tokens": 1024},
    ) as streaming:  # fmt: skip
        kinds = [event.type for event in streaming]
        final = streaming.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert {"thinking", "signature", "text"} <= set(kinds)
    assert [block.type for block in final.content] == ["thinking", "text"]
    assert (final.content[0].thinking, final.content[0].signature) == ("let me see", "EqQB")  # type: ignore[union-attr]
    assert (final.usage.input_tokens, final.usage.output_tokens) == (9, 3)


def _tool_loop(client: anthropic.Anthropic, model: str, system: str, *, stream: bool) -> tuple[Message, Message]:
    """Ask, run the tool that is called, and ask on."""
    asked: dict[str, Any] = {"model": model, "max_tokens": 50, "system": system, "tools": [WEATHER]}
    messages: list[MessageParam] = [{"role": "user", "content": "Weather in Oslo?"}]

    def ask() -> Message:
        if not stream:
            plain: Message = client.messages.create(**asked, messages=messages)
            return plain
        with client.messages.stream(**asked, messages=messages) as streaming:
            return streaming.get_final_message()

    first = ask()
    call = next(block for block in first.content if block.type == "tool_use")
    assert (call.name, call.input) == ("weather", {"city": "Oslo"})
    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "rain"}
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    return first, ask()


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_loop_over_the_vendor(
    world: Stage, client: anthropic.Anthropic, request: pytest.FixtureRequest, stream: bool
) -> None:
    called = both(text_block("I look"), tool_block("toolu_1", "weather", {"city": "Oslo"}), stop="tool_use")
    vendor = world.play(called, both(text_block("It rains.")))
    first, last = _tool_loop(client, CLAUDE, request.node.name, stream=stream)
    assert (first.stop_reason, last.stop_reason) == ("tool_use", "end_turn")
    assert last.content[0].text == "It rains."  # type: ignore[union-attr]
    assert vendor.seen[1].json["messages"] == [
        {"role": "user", "content": "Weather in Oslo?"},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I look"},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}]},
    ]


def _openai_call() -> Play:
    function = {"name": "weather", "arguments": '{"city": "Oslo"}'}
    call = {"id": "call_1", "type": "function", "function": function}
    told = {"role": "assistant", "content": None, "tool_calls": [call]}

    async def play(wire: Wire) -> None:
        if not wire.seen.json.get("stream"):
            choice = {"index": 0, "message": told, "finish_reason": "tool_calls"}
            await reply(200, completion("", choices=[choice]))(wire)
            return
        wire.open_stream()
        for delta in (
            {
                "tool_calls": [
                    {"index": 0, "id": "call_1", "type": "function", "function": function | {"arguments": ""}}
                ]
            },
            {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": '}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": '"Oslo"}'}}]},
        ):
            wire.event(piece(choices=[{"index": 0, "delta": delta, "finish_reason": None}]))
        wire.event(piece(finish="tool_calls"))
        wire.chunk(b"data: [DONE]\n\n")
        wire.close_stream()

    return play


def _openai_text(text: str) -> Play:
    async def play(wire: Wire) -> None:
        if not wire.seen.json.get("stream"):
            await reply(200, completion(text))(wire)
            return
        wire.open_stream()
        wire.event(piece(text))
        wire.event(piece(finish="stop"))
        wire.chunk(b"data: [DONE]\n\n")
        wire.close_stream()

    return play


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_loop_over_a_vendor_of_the_other_shape(
    world: Stage, client: anthropic.Anthropic, request: pytest.FixtureRequest, stream: bool
) -> None:
    vendor = world.play(_openai_call(), _openai_text("It rains."), on="openai")
    first, last = _tool_loop(client, WORKSHOP, request.node.name, stream=stream)
    assert (first.stop_reason, last.stop_reason) == ("tool_use", "end_turn")
    assert last.content[0].text == "It rains."  # type: ignore[union-attr]
    told = vendor.seen[1].json["messages"]
    assert [turn["role"] for turn in told] == ["system", "user", "assistant", "tool"]
    assert json.loads(told[2]["tool_calls"][0]["function"]["arguments"]) == {"city": "Oslo"}
    assert told[3]["tool_call_id"] == "call_1"
    assert told[3]["content"] == "rain"


def test_asynchronous_clients_share_one_call(world: Stage, request: pytest.FixtureRequest) -> None:
    vendor = world.play(both(text_block("Hello there")))
    asked: dict[str, Any] = {"model": CLAUDE, "max_tokens": 50, "system": request.node.name, "messages": HI}

    async def main() -> list[str]:
        async with anthropic.AsyncAnthropic(api_key=KEY, base_url=world.url, max_retries=0) as client:

            async def streamed() -> str:
                async with client.messages.stream(**asked) as streaming:
                    return await streaming.get_final_text()

            async def plain() -> str:
                told = await client.messages.create(**asked)
                return str(told.content[0].text)

            return list(await asyncio.gather(streamed(), plain(), streamed(), plain()))

    assert asyncio.run(main()) == ["Hello there"] * 4
    assert len(vendor.seen) == 1


def test_a_client_tries_again_where_the_vendor_is_overloaded(world: Stage, request: pytest.FixtureRequest) -> None:
    vendor = world.play(
        reply(529, {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, {"Retry-After": "0"}),
        both(text_block("Hello")),
    )
    with anthropic.Anthropic(api_key=KEY, base_url=world.url, max_retries=2) as client:
        told = client.messages.create(model=CLAUDE, max_tokens=50, system=request.node.name, messages=HI)
    assert told.content[0].text == "Hello"  # type: ignore[union-attr]
    assert len(vendor.seen) == 2


def test_errors_are_the_clients_own(world: Stage, client: anthropic.Anthropic) -> None:
    ask: dict[str, Any] = {"model": CLAUDE, "max_tokens": 50, "messages": [{"role": "user", "content": "Fail"}]}
    world.play(failure(400, "invalid_request_error", "something is wrong"))
    with pytest.raises(anthropic.BadRequestError, match="something is wrong") as bad:
        client.messages.create(**ask)
    assert bad.value.type == "invalid_request_error"
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(**ask | {"model": "no-such-model"})
    world.play(failure(500, "api_error"))
    with pytest.raises(anthropic.InternalServerError):
        client.messages.create(**ask)
    with pytest.raises(anthropic.AuthenticationError):
        anthropic.Anthropic(api_key="another", base_url=world.url, max_retries=0).messages.create(**ask)


def test_a_stream_that_breaks_raises(world: Stage, client: anthropic.Anthropic) -> None:
    events = events_of(message(text_block("Hello")))
    world.play(play_events([*events[:4], {"type": "error", "error": {"type": "api_error", "message": "x"}}]))
    ask: dict[str, Any] = {"model": CLAUDE, "max_tokens": 50, "messages": [{"role": "user", "content": "Break"}]}
    with client.messages.stream(**ask) as streaming, pytest.raises(anthropic.APIStatusError) as caught:
        streaming.get_final_message()
    assert caught.value.type == "api_error"


def test_tokens_are_counted_by_the_vendor_or_estimated(world: Stage, client: anthropic.Anthropic) -> None:
    vendor = world.play(reply(200, {"input_tokens": 14}))
    counted = client.messages.with_raw_response.count_tokens(model=CLAUDE, messages=HI, tools=[WEATHER])
    assert counted.parse().input_tokens == 14
    assert "x-askonce-estimated" not in counted.headers
    assert vendor.seen[0].path == "/v1/messages/count_tokens"
    estimated = client.messages.with_raw_response.count_tokens(model=WORKSHOP, messages=HI, tools=[WEATHER])
    assert estimated.parse().input_tokens > 10
    assert estimated.headers["x-askonce-estimated"] == "true"


MARK = {"type": "ephemeral", "ttl": "1h"}


def agents_request() -> dict[str, Any]:
    """Build what a coding agent sends in the middle of its work: everything but the last turn is a known prefix."""
    tools = [
        {
            "name": f"tool_{number}",
            "description": "Edit a file. " * 20,
            "input_schema": {
                "type": "object",
                "properties": {"path": {"type": "string"}, "edits": {"type": "array", "items": {"type": "object"}}},
                "required": ["path"],
                "additionalProperties": False,
                "$schema": "http://json-schema.org/draft-07/schema#",
            },
        }
        for number in range(20)
    ]
    begun = [{"type": "text", "text": "<reminder>"}, {"type": "text", "text": "Fix the bug."}]
    turns: list[dict[str, Any]] = [{"role": "user", "content": begun}]
    for number in range(5):
        turns.append(
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": f"step {number}", "signature": f"EqQB{number}"},
                    {"type": "text", "text": f"I edit file {number}."},
                    {"type": "tool_use", "id": f"toolu_{number}", "name": "tool_1",
                     "input": {"path": f"src/{number}.py", "edits": [{"line": 1.5, "at": number}]}},
                ],
            }
        )  # fmt: skip
        turns.append(
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": f"toolu_{number}",
                        "content": [{"type": "text", "text": "ok"}, {"type": "text", "text": "a\nb"}],
                    },
                    {"type": "text", "text": "<reminder>go on</reminder>"},
                ],
            }
        )
    tools[-1]["cache_control"] = MARK
    turns[-1]["content"][-1]["cache_control"] = {"type": "ephemeral"}
    return {
        "model": CLAUDE,
        "max_tokens": 32000,
        "system": [
            {"type": "text", "text": "You are a coding agent.", "cache_control": MARK},
            {"type": "text", "text": "Long instructions. " * 500, "cache_control": MARK},
        ],
        "messages": turns,
        "tools": tools,
        "thinking": {"type": "enabled", "budget_tokens": 31999},
        "metadata": {"user_id": "user_1"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    }


def test_a_coding_agents_prefix_reaches_the_vendor_undisturbed(world: Stage, client: anthropic.Anthropic) -> None:
    vendor = world.play(both(text_block("Done.")))
    asked = agents_request()
    betas = "claude-code-20250219,interleaved-thinking-2025-05-14"
    extra = {"context_management": asked.pop("context_management")}
    with client.messages.stream(**asked, extra_body=extra, extra_headers={"anthropic-beta": betas}) as streaming:
        assert streaming.get_final_text() == "Done."
    (seen,) = vendor.seen
    assert seen.headers["anthropic-beta"] == betas
    assert seen.json == asked | extra | {"stream": True}
    positions = [seen.body.index(name) for name in (b'"system"', b'"messages"', b'"tools"')]
    assert positions == sorted(positions)


def test_the_prefix_of_the_next_turn_is_byte_for_byte_that_of_this(world: Stage, client: anthropic.Anthropic) -> None:
    vendor = world.play(both(text_block("Done.")))
    asked = agents_request()
    asked.pop("context_management")
    client.messages.create(**asked | {"max_tokens": 32001}, timeout=60)
    more = [{"role": "assistant", "content": "Done."}, {"role": "user", "content": "Thanks. Now test."}]
    client.messages.create(**asked | {"max_tokens": 32001, "messages": asked["messages"] + more}, timeout=60)
    this, following = (seen.body for seen in vendor.seen)
    end = this.index(b'],"tools"')
    assert following.startswith(this[:end])
    assert following.endswith(this[end:])
