"""What a response repeats of its request.

The format is OpenAI's API reference, "The response object". Numbers that were not sent are null: whose default holds
is the vendor's that answers. What goes without saying is said as it is here: nothing is stored, nothing is cut off.
"""

import msgspec

from askonce.wire.openai_parts import Json

_PLAIN: Json = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "temperature": None,
    "tool_choice": "auto",
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
_FORMAT: Json = {"format": {"type": "text"}}
_REASONING: Json = {"effort": None, "summary": None}
_TOOL: Json = {"description": None, "parameters": None, "strict": None}


def echo_of(sent: Json) -> bytes:
    """Return the fields that stand in the reply, encoded without braces. `sent` is without nulls, and checked."""
    told = {name: sent.get(name, absent) for name, absent in _PLAIN.items()}
    told |= {
        "reasoning": _REASONING | sent.get("reasoning", {}),
        "store": False,
        "text": _FORMAT | {name: item for name, item in sent.get("text", {}).items() if item is not None},
        "tools": [_TOOL | tool for tool in sent.get("tools", ())],
    }
    return msgspec.json.encode(told)[1:-1]
