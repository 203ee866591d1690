"""What a model answered, and how it arrives: pieces, then one finish."""

from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import Struct

from askonce.domain.content import Foreign, Part
from askonce.domain.usage import Usage

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "unknown"]
# How the answer came about, as told to the caller (`metadata.cache`).
CacheState = Literal["hit", "miss", "coalesced", "refresh", "off"]

KEPT_FINISHES: frozenset[FinishReason] = frozenset({"stop", "tool_calls", "length"})


class Answer(Struct, frozen=True, array_like=True):
    """Hold one whole answer and what it cost when it was paid.

    `text` is all its text. `parts` is empty where there is nothing but that text, else everything in order: text,
    thinking, tool calls, foreign parts. `model` is the name as it was asked for, `model_version` the vendor's own
    word. `cost_nano` is in nano-dollars; `priced` is false where no price is known (the cost is then 0). `took_ms`
    runs from asking to the last byte. `stop_sequence` is the stop text that ended it, where the vendor says so.
    `saved_prompt_cache_nano` is what the call would have cost more without the vendor's own prompt cache.
    """

    text: str
    finish: FinishReason
    usage: Usage
    provider: str
    model: str
    model_version: str
    cost_nano: int = 0
    priced: bool = True
    took_ms: int = 0
    first_token_ms: int = 0
    parts: tuple[Part, ...] = ()
    stop_sequence: str = ""
    saved_prompt_cache_nano: int = 0


class Delta(Struct, frozen=True, array_like=True, tag="t"):
    """Carry the next piece of an answer's text."""

    text: str


class ThinkingDelta(Struct, frozen=True, array_like=True, tag="h"):
    """Carry the next piece of a model's reasoning; `signature` and `redacted` come whole, at its end."""

    text: str = ""
    signature: str = ""
    redacted: str = ""


class ToolDelta(Struct, frozen=True, array_like=True, tag="c"):
    """Carry the beginning (`id` and `name`) or the next piece of the arguments of the tool call number `index`."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


Piece = Delta | ThinkingDelta | ToolDelta


class Entry(Struct, frozen=True, array_like=True):
    """Hold one stored answer.

    `key` is the whole fingerprint (32 bytes). Times are epoch milliseconds. `cost_nano`, `prompt_tokens` and
    `completion_tokens` repeat the answer's, so that a hit is booked without decoding it. `answer` is the encoded
    `Answer`. `rendition` is the part of a hit's reply that does not change between hits, in the shape of the door
    named by `shape` (empty when no door has rendered it).
    """

    key: bytes
    tenant: str
    provider: str
    model: str
    stored_ms: int
    expires_ms: int
    cost_nano: int
    prompt_tokens: int
    completion_tokens: int
    answer: msgspec.Raw
    shape: str = ""
    rendition: bytes = b""

    def open(self) -> Answer:
        """Decode the stored answer."""
        answer = _answers.decode(self.answer)
        return _with_parts(answer, _unpacked) if answer.parts else answer


def pack(answer: Answer) -> msgspec.Raw:
    """Encode an answer for an entry."""
    return msgspec.Raw(_packer.encode(_with_parts(answer, _packed) if answer.parts else answer))


# The JSON of a foreign part is no MessagePack: it is packed as bytes.


def _with_parts(answer: Answer, change: Callable[[Foreign], Foreign]) -> Answer:
    parts = tuple(change(part) if isinstance(part, Foreign) else part for part in answer.parts)
    return msgspec.structs.replace(answer, parts=parts)


def _packed(part: Foreign) -> Foreign:
    return Foreign(part.shape, part.kind, msgspec.Raw(_packer.encode(bytes(part.json))))


def _unpacked(part: Foreign) -> Foreign:
    return Foreign(part.shape, part.kind, msgspec.Raw(_bytes.decode(part.json)))


_answers = msgspec.msgpack.Decoder(Answer)
_packer = msgspec.msgpack.Encoder()
_bytes = msgspec.msgpack.Decoder(bytes)
