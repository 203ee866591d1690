"""The traffic of a coding agent over `/v1/responses`, against a gateway as it is run, with a vendor behind it.

The shape is that of OpenAI's Codex CLI (https://github.com/openai/codex, `codex-api` and `protocol`): instructions of
many words, many tools, one of them custom with a grammar, every turn streamed with all items sent again, which are
those of the events `response.output_item.done` without their ids; nothing is stored, and reasoning comes back.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from tests.clients.backstage import KEY, Stage, stage
from tests.providers.anthropic_upstream import both, text_block, tool_block
from tests.providers.upstream import USAGE, Exchange, Play, Seen, piece

pytestmark = pytest.mark.process

Json = dict[str, Any]

INSTRUCTIONS = "You are a coding agent. " + "Keep changes small, and test them. " * 600
PATCH = "*** Begin Patch\n*** Update File: a.py\n-x = 1\n+x = 2\n*** End Patch\n"
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin Patch" /(.|\\n)+/'}
FUNCTIONS: list[Json] = [
    {
        "type": "function",
        "name": name,
        "description": f"Do {name}.",
        "strict": False,
        "parameters": {"type": "object", "properties": {"of": {"type": "string"}}, "additionalProperties": False},
    }
    for name in "shell read_file list_dir grep update_plan view_image write_stdin wait ask".split()
]
CUSTOM: Json = {"type": "custom", "name": "apply_patch", "description": "Edit files.", "format": GRAMMAR}
OUTPUTS = {"shell": "1 failed", "read_file": "x = 1\n", "apply_patch": "Success.", "update_plan": "Plan updated"}


def session(at: OpenAI, model: str, tools: Sequence[Json], number: int) -> tuple[list[Json], str]:
    """Work as the agent does until no call is left; return all items, and the last words. `number` is its own."""
    items: list[Json] = [
        {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}
        for role, text in (("developer", "Sandbox: read-only."), ("user", "<cwd>/src</cwd>"), ("user", "Mend it."))
    ]
    for _ in range(8):
        done, words = turn(at, model, tools, (items, number))
        items += done
        calls = [item for item in done if item["type"].endswith("_call")]
        if not calls:
            return items, words
        for call in calls:
            told = {"call_id": call["call_id"], "output": OUTPUTS[call["name"]]}
            items.append({"type": f"{call['type']}_output"} | told)
    raise AssertionError("the agent goes in circles")


def turn(at: OpenAI, model: str, tools: Sequence[Json], mine: tuple[list[Json], int]) -> tuple[list[Json], str]:
    items, number = mine
    asked: Json = {
        "model": model,
        "instructions": INSTRUCTIONS,
        "input": items,
        "tools": tools,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "prompt_cache_key": f"thread-{number}",
        "extra_body": {"client_metadata": {"x-codex-installation-id": f"i-{number}"}},
    }
    done: list[Json] = []
    words, deltas = "", 0
    for event in at.responses.create(**asked, stream=True):
        if event.type == "response.output_item.done":
            item = event.item.model_dump(mode="json", exclude_unset=True)
            done.append({name: value for name, value in item.items() if name not in ("id", "status")})
        elif event.type == "response.output_text.delta":
            words += event.delta
        elif event.type == "response.custom_tool_call_input.delta":
            deltas += 1
        last = event
    assert last.type == "response.completed"
    assert last.response.usage is not None
    assert bool(deltas) == any(item["type"] == "custom_tool_call" for item in done)
    return done, words


def chat_stream(*deltas: Json, finish: str) -> Play:
    """Play deltas of a chat completion."""

    async def play(exchange: Exchange) -> None:
        exchange.open_stream()
        for delta in deltas:
            exchange.event(piece(choices=[{"index": 0, "delta": delta, "finish_reason": None}]))
        exchange.event(piece(finish=finish))
        exchange.event(piece(choices=[], usage=USAGE))
        exchange.chunk(b"data: [DONE]\n\n")
        exchange.close_stream()

    return play


def begin(at: int, call_id: str, name: str, kind: str = "function") -> Json:
    empty = {"name": name} | ({"arguments": ""} if kind == "function" else {"input": ""})
    return {"tool_calls": [{"index": at, "id": call_id, "type": kind, kind: empty}]}


def more(at: int, text: str, kind: str = "function") -> Json:
    return {"tool_calls": [{"index": at, kind: {"arguments" if kind == "function" else "input": text}}]}


LOOKING = chat_stream(
    {"role": "assistant", "reasoning_content": "Where "},
    {"reasoning_content": "is it?"},
    {"content": "I look "},
    {"content": "first."},
    begin(0, "call_1", "shell"),
    begin(1, "call_2", "read_file"),
    more(0, '{"of": '),
    more(1, '{"of": "a.py"}'),
    more(0, '"pytest"}'),
    finish="tool_calls",
)
PATCHING = chat_stream(
    {"role": "assistant", "reasoning_content": "There."},
    begin(0, "call_3", "apply_patch", "custom"),
    *(more(0, PATCH[at : at + 16], "custom") for at in range(0, len(PATCH), 16)),
    begin(1, "call_4", "update_plan"),
    more(1, '{"of": "test"}'),
    finish="tool_calls",
)
ENDING = chat_stream({"role": "assistant", "content": "Mended."}, finish="stop")


def grows(seen: Sequence[Seen]) -> None:
    """Hold that every question begins with the one before it, byte by byte, and asks the same way."""
    for earlier, later in pairwise(seen):
        one, two = earlier.json, later.json
        before, after = one.pop("messages"), two.pop("messages")
        assert after[: len(before)] == before
        assert len(after) > len(before)
        assert one == two
        parted = next(pair for pair in zip(earlier.body, later.body, strict=False) if pair[0] != pair[1])
        assert bytes(parted) == b"],"  # the end of the earlier list of messages, where the later one goes on


def client(house: Stage) -> OpenAI:
    return OpenAI(base_url=f"{house.url}/v1", api_key=KEY, max_retries=0)


def test_a_coding_agent_works_with_custom_tools_and_the_second_run_is_free(tmp_path: Path) -> None:
    with stage(tmp_path) as house, client(house) as at:
        vendor = house.play(LOOKING, PATCHING, ENDING, on="openai")
        first = session(at, "w-1", [*FUNCTIONS, CUSTOM], 1)
        again = session(at, "w-1", [*FUNCTIONS, CUSTOM], 2)
    items, words = first
    assert again == first
    assert words == "Mended."
    assert [item["type"] for item in items[3:]] == [
        "reasoning", "message", "function_call", "function_call", "function_call_output", "function_call_output",
        "reasoning", "function_call", "custom_tool_call", "function_call_output", "custom_tool_call_output", "message",
    ]  # fmt: skip
    (patch,) = [item for item in items if item["type"] == "custom_tool_call"]
    assert (patch["name"], patch["input"]) == ("apply_patch", PATCH)
    assert len(vendor.seen) == 3
    grows(vendor.seen)
    last = vendor.seen[-1].json
    assert last["messages"][0] == {"role": "system", "content": INSTRUCTIONS}
    assert [message["role"] for message in last["messages"][4:]] == [
        "assistant", "tool", "tool", "assistant", "tool", "tool",
    ]  # fmt: skip
    assert last["messages"][7] == {
        "role": "assistant",
        "content": None,
        "reasoning_content": "There.",
        "tool_calls": [
            {"id": "call_4", "type": "function", "function": {"name": "update_plan", "arguments": '{"of": "test"}'}},
            {"id": "call_3", "type": "custom", "custom": {"name": "apply_patch", "input": PATCH}},
        ],
    }
    assert len(last["tools"]) == 10
    assert last["tools"][-1]["custom"]["format"]["grammar"]["syntax"] == "lark"
    assert "client_metadata" not in last


def test_a_coding_agents_sealed_reasoning_goes_back_to_its_vendor_unchanged(tmp_path: Path) -> None:
    thinking = [{"type": "thinking", "thinking": text, "signature": f"Eq{text}"} for text in ("Where?", "There.")]
    looking = both(
        thinking[0],
        text_block("I look first."),
        tool_block("toolu_1", "shell", {"of": "pytest"}),
        tool_block("toolu_2", "read_file", {"of": "a.py"}),
        stop="tool_use",
    )
    planning = both(thinking[1], tool_block("toolu_3", "update_plan", {"of": "test"}), stop="tool_use")
    with stage(tmp_path) as house, client(house) as at:
        vendor = house.play(looking, planning, both(text_block("Mended.")))
        first = session(at, "claude-haiku-4-5", FUNCTIONS, 1)
        assert session(at, "claude-haiku-4-5", FUNCTIONS, 2) == first
    assert len(vendor.seen) == 3
    grows(vendor.seen)
    turns = [message["content"] for message in vendor.seen[-1].json["messages"] if message["role"] == "assistant"]
    assert [content[0] for content in turns] == thinking
