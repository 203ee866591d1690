"""A coding agent that speaks OpenAI's shape, over the official library: large prompts, many tools, calls side by side.

Before a vendor of the same shape and before Anthropic, from a gateway as it is run.
"""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from tests.clients.backstage import KEY, Stage, stage
from tests.providers.anthropic_upstream import both, text_block, tool_block
from tests.providers.upstream import Exchange, Play, Seen, completion, piece, reply

pytestmark = pytest.mark.process

CLAUDE, WORKSHOP = "claude-haiku-4-5", "w-1"
INSTRUCTIONS = "Long instructions. " * 2000
MARK = {"type": "ephemeral"}
CALLS = [("call_a", {"path": "src/a.py", "line": 1}), ("call_b", {"path": "src/b.py", "line": 2})]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("backstage")) as made:
        yield made


@pytest.fixture
def client(world: Stage) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=KEY, base_url=f"{world.url}/v1", max_retries=0) as made:
        yield made


def schema(number: int) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"path": {"type": "string"}, "line": {"type": "integer"}, f"option_{number}": {"type": "string"}},
        "required": ["path"],
        "additionalProperties": False,
    }


def arguments(number: int) -> str:
    """Write arguments in a spelling that no JSON library would choose."""
    return f'{{"path": "src/{number}.py",  "line": 1.50}}'


def agents_request(model: str, task: str) -> dict[str, Any]:
    """Build what an agent sends in the middle of its work: each turn calls two tools at once."""
    tools = [
        {
            "type": "function",
            "function": {"name": f"tool_{n}", "description": "Edit a file. " * 20, "parameters": schema(n)},
        }
        for n in range(40)
    ]
    turns: list[dict[str, Any]] = [
        {"role": "system", "content": [{"type": "text", "text": INSTRUCTIONS, "cache_control": MARK}]},
        {"role": "user", "content": task},
    ]
    for number in range(5):
        calls = [
            {
                "id": f"call_{number}_{side}",
                "type": "function",
                "function": {"name": f"tool_{side}", "arguments": arguments(number)},
            }
            for side in range(2)
        ]
        turns.append({"role": "assistant", "content": f"I edit file {number}.", "tool_calls": calls})
        turns += [{"role": "tool", "tool_call_id": call["id"], "content": "done\nok"} for call in calls]
    return {
        "model": model,
        "messages": turns,
        "tools": tools,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "max_tokens": 32000,
        "temperature": 0,
        "user": "agent-1",
    }


def working() -> Play:
    """Play a vendor that calls two tools at once, their arguments in turns where it streams."""
    begun = [
        {"index": at, "id": call_id, "type": "function", "function": {"name": f"tool_{at}", "arguments": ""}}
        for at, (call_id, _) in enumerate(CALLS)
    ]
    written = [json.dumps(given) for _, given in CALLS]

    async def play(wire: Exchange) -> None:
        if not wire.seen.json.get("stream"):
            calls = [
                {"id": call["id"], "type": "function", "function": call["function"] | {"arguments": arguments}}  # type: ignore[operator]
                for call, arguments in zip(begun, written, strict=True)
            ]
            told = {"role": "assistant", "content": "I edit.", "tool_calls": calls}
            choice = {"index": 0, "message": told, "finish_reason": "tool_calls"}
            await reply(200, completion("", choices=[choice]))(wire)
            return
        wire.open_stream()
        wire.event(piece("I edit."))
        deltas: list[dict[str, Any]] = list(begun)
        for half in (slice(0, 6), slice(6, None)):
            deltas += [{"index": at, "function": {"arguments": text[half]}} for at, text in enumerate(written)]
        for delta in deltas:
            wire.event(piece(choices=[{"index": 0, "delta": {"tool_calls": [delta]}, "finish_reason": None}]))
        wire.event(piece(finish="tool_calls"))
        wire.chunk(b"data: [DONE]\n\n")
        wire.close_stream()

    return play


def working_as_claude() -> Play:
    blocks = [tool_block(call_id, f"tool_{at}", given) for at, (call_id, given) in enumerate(CALLS)]
    return both(text_block("I edit."), *blocks, stop="tool_use")


MODELS = pytest.mark.parametrize(
    ("model", "on", "play"), [(WORKSHOP, "openai", working), (CLAUDE, "anthropic", working_as_claude)]
)


@MODELS
@pytest.mark.parametrize("stream", [False, True])
def test_an_agents_turn_with_calls_side_by_side(
    world: Stage, client: openai.OpenAI, model: str, on: str, play: Any, stream: bool
) -> None:
    vendor = world.play(play(), on=on)
    asked = agents_request(model, f"Fix it, {'streamed' if stream else 'plain'}.")
    for _ in range(2):  # the second time from the store
        if stream:
            with client.chat.completions.stream(**asked) as streaming:
                choice = streaming.get_final_completion().choices[0]
        else:
            choice = client.chat.completions.create(**asked).choices[0]
        assert (choice.finish_reason, choice.message.content) == ("tool_calls", "I edit.")
        assert [
            (call.id, call.function.name, json.loads(call.function.arguments))
            for call in choice.message.tool_calls or ()
        ] == [(call_id, f"tool_{at}", given) for at, (call_id, given) in enumerate(CALLS)]
    assert len(vendor.seen) == 1


def test_an_agents_request_reaches_a_vendor_of_its_shape_as_it_was_sent(world: Stage, client: openai.OpenAI) -> None:
    vendor = world.play(working(), on="openai")
    asked = agents_request(WORKSHOP, "Fix the bug.")
    client.chat.completions.create(**asked)
    (seen,) = vendor.seen
    assert seen.json == asked
    assert KEY not in str(seen)


def test_an_agents_request_reaches_anthropic_in_its_own_shape(world: Stage, client: openai.OpenAI) -> None:
    vendor = world.play(working_as_claude())
    asked = agents_request(CLAUDE, "Fix the bug.")
    client.chat.completions.create(**asked)
    told = vendor.seen[0].json
    assert told["system"] == [{"type": "text", "text": INSTRUCTIONS, "cache_control": MARK}]
    assert [tool["name"] for tool in told["tools"]] == [f"tool_{n}" for n in range(40)]
    assert told["tools"][3]["input_schema"] == schema(3)
    assert told["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": False}
    assert [turn["role"] for turn in told["messages"]] == ["user", *["assistant", "user"] * 5]
    called, results = told["messages"][1:3]
    assert [block["type"] for block in called["content"]] == ["text", "tool_use", "tool_use"]
    assert [block["tool_use_id"] for block in results["content"]] == ["call_0_0", "call_0_1"]
    assert f'"input":{arguments(0)}'.encode() in vendor.seen[0].body  # byte for byte
    assert "user" not in told


@MODELS
def test_the_prefix_of_an_agents_next_turn_is_byte_for_byte_that_of_this(
    world: Stage, client: openai.OpenAI, model: str, on: str, play: Any
) -> None:
    vendor = world.play(play(), on=on)
    asked = agents_request(model, "Fix the bug, slowly.")
    message = client.chat.completions.create(**asked).choices[0].message
    more = [message.model_dump(exclude_none=True)]
    more += [{"role": "tool", "tool_call_id": call.id, "content": "done"} for call in message.tool_calls or ()]
    client.chat.completions.create(**asked | {"messages": asked["messages"] + more})
    this, following = vendor.seen
    check_prefix(this, following)


def check_prefix(this: Seen, following: Seen) -> None:
    end = this.body.index(b'],"tools"')
    assert following.body.startswith(this.body[:end])
    assert following.body.endswith(this.body[end:])
    assert len(following.body) > len(this.body)
