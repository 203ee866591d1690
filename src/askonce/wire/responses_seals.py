"""What seals a model's reasoning, as `encrypted_content` of a reasoning item: written, and read back.

OpenAI's guide "Reasoning models" has clients keep that text as it is and send it back. Ours begins with what it holds:
a signature, redacted data, or the list in which OpenRouter sends what seals other vendors' reasoning
(`wire.openai_thoughts`). Text that anybody else sealed has no meaning to those who are asked through here.
"""

from typing import Any

import msgspec

from askonce.domain.content import Foreign, Part, Thinking, canonical_json
from askonce.wire.openai_parts import SHAPE
from askonce.wire.openai_thoughts import DETAILS

_SIGNED, _REDACTED, _LISTED = "signature.", "redacted.", "details."


def write_seal(thought: Thinking) -> str | None:
    """Return what seals a thought; None where nothing does."""
    if thought.redacted:
        return _REDACTED + thought.redacted
    return _SIGNED + thought.signature if thought.signature else None


def write_details_seal(details: Any) -> str:
    """Return a list of sealed reasoning as one seal."""
    return _LISTED + msgspec.json.encode(details).decode()


def read_seal(seal: object, text: str) -> tuple[Part, ...] | None:
    """Return the thought that has this text and this seal, if there is any; None for a seal that is not ours."""
    if seal == "":
        return (Thinking(text),) if text else ()
    if not isinstance(seal, str):
        return None
    for mark in (_SIGNED, _REDACTED, _LISTED):
        held = seal.removeprefix(mark)
        if held not in ("", seal):
            return _unsealed(mark, held, text)
    return None


def _unsealed(mark: str, held: str, text: str) -> tuple[Part, ...] | None:
    if mark == _SIGNED:
        return (Thinking(text, held),)
    if mark == _REDACTED:
        return (Thinking(text, redacted=held),)
    try:
        details = msgspec.json.decode(held)
    except msgspec.DecodeError:
        return None
    return (*((Thinking(text),) if text else ()), Foreign(SHAPE, DETAILS, canonical_json(details)))
