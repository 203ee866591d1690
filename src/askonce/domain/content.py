"""What messages and answers are made of, free of any vendor's shape.

A piece of content that only one shape understands travels as `Foreign`: part of the question, passed on to providers
of that shape, refused by name elsewhere. Never dropped.
"""

import msgspec
from msgspec import Raw, Struct


class Text(Struct, frozen=True, array_like=True, tag="text"):
    """Hold text."""

    text: str


class Image(Struct, frozen=True, array_like=True, tag="image"):
    """Hold a picture: either `url`, or base64 `data` with its `media_type`. `detail` as in OpenAI's shape."""

    url: str = ""
    media_type: str = ""
    data: str = ""
    detail: str = ""


# Stands before a signature of Google's, so that it is never taken for another vendor's.
GOOGLES = "gemini:"


class Thinking(Struct, frozen=True, array_like=True, tag="thinking"):
    """Hold a model's reasoning as it wants it back: with its signature, or only `redacted` data."""

    text: str = ""
    signature: str = ""
    redacted: str = ""

    def unsealed(self) -> "Thinking":
        """Return the thoughts for any vendor but Google, whose signatures mean nothing elsewhere."""
        return Thinking(self.text) if self.signature.startswith(GOOGLES) else self


class ToolCall(Struct, frozen=True, array_like=True, tag="call"):
    """Hold a model's wish to call a tool. `arguments` is JSON text, byte for byte as it came."""

    id: str
    name: str
    arguments: str


class ToolResult(Struct, frozen=True, array_like=True, tag="result"):
    """Hold what a tool said to the call with this id."""

    call_id: str
    content: tuple[Text | Image, ...]
    is_error: bool = False


class Foreign(Struct, frozen=True, array_like=True, tag="foreign"):
    """Hold a part as JSON that only `shape` understands; `kind` names it in messages to people."""

    shape: str
    kind: str
    json: Raw

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Foreign) and (self.shape, self.kind, bytes(self.json)) == (
            other.shape,
            other.kind,
            bytes(other.json),
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.kind, bytes(self.json)))


Part = Text | Image | Thinking | ToolCall | ToolResult | Foreign


def plain(parts: tuple[Part, ...]) -> str | tuple[Part, ...]:
    """Return the one way to write content: a single text part is its text."""
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return parts


def as_parts(content: str | tuple[Part, ...]) -> tuple[Part, ...]:
    """Return content as parts; no text is no part."""
    if isinstance(content, str):
        return (Text(content),) if content else ()
    return content


def text_of(content: str | tuple[Part, ...]) -> str:
    """Return all text in content, joined: for counting tokens and for people."""
    if isinstance(content, str):
        return content
    return "".join(map(_words, content))


def _words(part: Part) -> str:
    if isinstance(part, Text | Thinking):
        return part.text
    if isinstance(part, ToolCall):
        return part.name + part.arguments
    if isinstance(part, ToolResult):
        return text_of(part.content)
    return ""


def canonical_json(value: object) -> Raw:
    """Encode a value that came as JSON with sorted keys and whole floats as integers: one spelling for one value."""
    return Raw(_encoder.encode(_whole(value)))


def ordered_json(value: object) -> Raw:
    """Encode a schema as it came, but for whole floats: models fill in properties in the order of their schema."""
    return Raw(msgspec.json.encode(_whole(value)))


def _whole(value: object) -> object:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return value


_encoder = msgspec.json.Encoder(order="sorted")
