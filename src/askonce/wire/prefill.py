"""Beginnings of the answer. Pure.

In Anthropic's shape a conversation that ends with the assistant's words is to be gone on with (its guide "Prefill
Claude's response"). Elsewhere those words are a turn like any other, and the answer begins anew behind them: whoever
joins the two has something that nobody said.
"""

from askonce.domain.call import Call
from askonce.domain.content import ToolCall, as_parts
from askonce.wire.anthropic_parts import SHAPE

PROBLEM = "is a beginning of the answer, which who would answer cannot go on with: end with the user's turn"


def is_prefilled(call: Call) -> bool:
    """Say whether the caller began the answer."""
    if call.shape != SHAPE or not call.messages or call.messages[-1].role != "assistant":
        return False
    return not any(isinstance(part, ToolCall) for part in as_parts(call.messages[-1].content))
