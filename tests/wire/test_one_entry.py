"""The same question through the doors of two vendors' shapes is one question, where the fields mean the same."""

import json
from typing import Any

import pytest

from askonce.cache.fingerprint import fingerprints
from askonce.domain.call import CacheWish, Candidate
from askonce.wire.anthropic_door import MESSAGES
from askonce.wire.openai_door import CHAT

WHO = [Candidate("p", "m")]
USER = {"role": "user", "content": "Hi"}
ROME = '{"place":"Rome"}'
SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}}


@pytest.mark.parametrize(
    ("chat", "messages"),
    [
        pytest.param({"messages": [USER]}, {"messages": [USER]}, id="words"),
        pytest.param(
            {"messages": [{"role": "system", "content": "Be brief."}, USER], "temperature": 1, "user": "me"},
            {"system": "Be brief.", "messages": [USER], "temperature": 1.0, "metadata": {"user_id": "me"}},
            id="system, numbers, who asks",
        ),
        pytest.param(
            {"messages": [USER], "stop": "x", "top_p": 0.5, "stream": True},
            {"messages": [USER], "stop_sequences": ["x"], "top_p": 0.5},
            id="stops and modes",
        ),
        pytest.param(
            {
                "messages": [USER],
                "tools": [{"type": "function", "function": {"name": "look", "description": "L", "parameters": SCHEMA}}],
                "tool_choice": "required",
            },
            {
                "messages": [USER],
                "tools": [
                    {"name": "look", "description": "L", "input_schema": SCHEMA, "cache_control": {"type": "ephemeral"}}
                ],
                "tool_choice": {"type": "any"},
            },
            id="tools",
        ),
        pytest.param(
            {
                "messages": [
                    USER,
                    {
                        "role": "assistant",
                        "content": "Let me look.",
                        "tool_calls": [
                            {"id": "c", "type": "function", "function": {"name": "look", "arguments": ROME}}
                        ],
                    },
                    {"role": "tool", "tool_call_id": "c", "content": "sun"},
                    {"role": "user", "content": "And?"},
                ]
            },
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "text", "text": "Let me look."},
                            {"type": "tool_use", "id": "c", "name": "look", "input": {"place": "Rome"}},
                        ],
                    },
                    {
                        "role": "user",
                        "content": [
                            {"type": "tool_result", "tool_use_id": "c", "content": "sun"},
                            {"type": "text", "text": "And?"},
                        ],
                    },
                ]
            },
            id="a loop of tools",
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": [
                {"type": "text", "text": "What?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            ]}]},
            {"messages": [{"role": "user", "content": [
                {"type": "text", "text": "What?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
            ]}]},
            id="pictures",
        ),
    ],
)  # fmt: skip
def test_one_question_has_one_key(chat: dict[str, Any], messages: dict[str, Any]) -> None:
    common = {"model": "m", "max_tokens": 9}
    one = CHAT.read(json.dumps(common | chat).encode(), "t", CacheWish())
    two = MESSAGES.read(json.dumps(common | messages).encode(), "t", CacheWish())
    assert fingerprints(one.call, WHO) == fingerprints(two.call, WHO)
