"""A model's reasoning in OpenAI's shape, read and written.

OpenAI's own shape has no place for it; those who extend it have two. `reasoning_content` (DeepSeek, vLLM, llama.cpp,
and others) or `reasoning` (OpenRouter, Groq, Together) is its text. `reasoning_details` (OpenRouter, "Reasoning
Tokens") is a list that also holds signatures and redacted data, which a vendor wants back unchanged. Of that list only
what Anthropic's models send has a place in `Thinking`; lists with anything else stay as they came.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from askonce.domain.content import Foreign, Part, Thinking, canonical_json
from askonce.wire.openai_parts import SHAPE, Json

FORMAT = "anthropic-claude-v1"  # OpenRouter's name for thinking with Anthropic's signatures
REASONING = ("reasoning_content", "reasoning")
DETAILS = "message.reasoning_details"


def read_thoughts(fields: Json) -> tuple[Part, ...]:
    """Take the reasoning out of a message's fields."""
    text = _text(fields)
    details = fields.pop("reasoning_details", None)
    thoughts: tuple[Part, ...] = (Thinking(text),) if text else ()
    if not details:
        return thoughts
    return _from_details(details) or (*thoughts, Foreign(SHAPE, DETAILS, canonical_json(details)))


def _text(fields: Json) -> str:
    """Take the text out; what is none, or another text under the other name, stays."""
    text = ""
    for name in REASONING:
        said = fields.get(name)
        if isinstance(said, str) and said in ("", text or said):
            text = text or said
            del fields[name]
    return text


def _from_details(details: object) -> tuple[Part, ...]:
    """Return the list as thoughts, or nothing where that would lose any of it."""
    if not isinstance(details, list):
        return ()
    thoughts = tuple(_thought(detail) for detail in details)
    whole = tuple(thought for thought in thoughts if thought is not None)
    same = len(whole) == len(details) and canonical_json(write_details(whole)) == canonical_json(_told(details))
    return whole if same else ()


def _told(details: list[Any]) -> list[Any]:
    return [{k: v for k, v in d.items() if v is not None} if isinstance(d, dict) else d for d in details]


def _thought(detail: object) -> Thinking | None:
    if not isinstance(detail, dict):
        return None
    text, signature, data = detail.get("text") or "", detail.get("signature") or "", detail.get("data") or ""
    if not (isinstance(text, str) and isinstance(signature, str) and isinstance(data, str)):
        return None
    return Thinking(text, signature, data)


def write_details(thoughts: Sequence[Thinking]) -> list[Json]:
    """Write thoughts with their signatures and redacted data."""
    written: list[Json] = []
    for index, thought in enumerate(thoughts):
        common = {"format": FORMAT, "index": index}
        if thought.redacted:
            written.append({"type": "reasoning.encrypted", "data": thought.redacted} | common)
        else:
            signed = {"signature": thought.signature} if thought.signature else {}
            written.append({"type": "reasoning.text", "text": thought.text} | signed | common)
    return written


def is_sealed(thoughts: Iterable[Thinking]) -> bool:
    """Say whether there is more than text in these thoughts."""
    return any(thought.signature or thought.redacted for thought in thoughts)


def spoken(thoughts: Iterable[Thinking]) -> str:
    """Return the text of all thoughts."""
    return "".join(thought.text for thought in thoughts)


def joined(details: list[Any]) -> list[Any]:
    """Join the pieces of a streamed list: those with one index are one, their texts in order."""
    whole: dict[object, Any] = {}
    for at, piece in enumerate(details):
        key = piece.get("index", f"at {at}") if isinstance(piece, dict) else f"at {at}"
        earlier = whole.get(key)
        if not isinstance(earlier, dict) or earlier.get("type") != piece.get("type"):
            whole[key if earlier is None else f"{key} at {at}"] = piece
            continue
        for name, value in piece.items():
            if name in ("text", "summary", "data") and isinstance(value, str) and isinstance(earlier.get(name), str):
                earlier[name] += value
            elif value is not None:
                earlier[name] = value
    return list(whole.values())
