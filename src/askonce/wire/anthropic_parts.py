"""Anthropic's content blocks and our parts, both ways. Pure.

The format is Anthropic's API reference, "Messages" (`POST /v1/messages`), in requests and replies alike. Rules:
- A block that says more than a part can hold is `Foreign`, whole: `document`, `search_result`, server tools, an image
  by file id, a result that holds a document. Citations are a `Foreign` of their own, right behind the text they are of.
- `cache_control` cannot change an answer: it is an aside, and put back where it stood.
- The `input` of a tool call is an object there and JSON text here: written without white space, keys in their order,
  because a vendor's prompt cache knows the order in which its model wrote them. Text that is no object travels as
  `{"INVALID_JSON": text}` (Anthropic's guide, "Fine-grained tool streaming").
- `caller` `{"type": "direct"}` says what is the case without it, so it is left out.
- Ids of calls are `^[a-zA-Z0-9_-]+$` there (API reference, `tool_use`). Another vendor's id that is not is written as
  what is left of it and a digest of all of it, the same for the call and its result in every turn.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from askonce.domain.call import Aside
from askonce.domain.content import Foreign, Image, Part, Text, Thinking, ToolCall, ToolResult, canonical_json
from askonce.domain.errors import Detail, Invalid
from askonce.wire.data_urls import inline

SHAPE = "anthropic"

Json = dict[str, Any]
# An aside's place within its message or tool, such as `("content", 0, "cache_control")`.
Place = tuple[str | int, ...]

CITATIONS = "citations"  # the kind of the `Foreign` that follows a text with citations
_CACHE = "cache_control"
_INVALID = "INVALID_JSON"

PROBLEMS_CEILING = 20  # more are no help to anyone
NAMED_MAX = 100  # what a caller sent comes back to it, but no more of it than tells what is meant


class Problems:
    """Collect what is wrong with a request, field by field."""

    def __init__(self) -> None:
        self.found: list[Detail] = []

    def add(self, field: str, problem: str) -> None:
        """Note one problem; beyond the ceiling none."""
        if len(self.found) < PROBLEMS_CEILING:
            self.found.append(Detail(field[:NAMED_MAX], problem))

    def check(self, what: str) -> None:
        """Raise `Invalid` with all that was found; `what` begins its sentence."""
        if self.found:
            said = "; ".join(f"{p.field} {p.problem}" for p in self.found)
            raise Invalid(f"{what}: {said}.", details=self.found)


class Block(Struct, frozen=True):
    """Hold what one block became: its parts, and the asides with their places within the first of them."""

    parts: tuple[Part, ...]
    asides: tuple[tuple[Place, Raw], ...] = ()


def read_blocks(content: object, field: str, problems: Problems) -> list[Block]:
    """Read a message's content: a text, or a list of blocks."""
    if isinstance(content, str):
        return [Block((Text(content),))] if content else []
    if not isinstance(content, list):
        problems.add(field, "must be a text or an array of blocks")
        return []
    found = []
    for index, block in enumerate(content):
        where = f"{field}.{index}"
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            problems.add(where, "must be an object with a type")
            continue
        try:
            found.append(_read_block(block, where, problems))
        except (KeyError, TypeError, ValueError):
            problems.add(where, f"is not a whole block of type {block['type'][:NAMED_MAX]}")
    return found


def _read_block(block: Json, where: str, problems: Problems) -> Block:
    """Read one block. Raises `KeyError`, `TypeError` or `ValueError` where a field is missing or of another type."""
    said = {name: value for name, value in block.items() if value is not None and name != "type"}
    marked = take_asides(said, (_CACHE,))
    kind = block["type"]
    if kind == "text":
        return Block(_text(said, block), marked)
    if kind == "tool_result":
        result, inner = _tool_result(said, block, where, problems)
        return Block((result,), (*marked, *inner))
    read = _READERS.get(kind)
    part = read(said) if read is not None else None
    return Block((part or _foreign(kind, block),), marked)


def take_asides(said: Json, names: Iterable[str]) -> tuple[tuple[Place, Raw], ...]:
    """Take fields that cannot change the answer out of an object."""
    return tuple(((name,), canonical_json(said.pop(name))) for name in names if name in said)


def _foreign(kind: str, block: Json) -> Foreign:
    return Foreign(SHAPE, kind, canonical_json({n: v for n, v in block.items() if n != _CACHE and v is not None}))


def _text(said: Json, block: Json) -> tuple[Part, ...]:
    text, citations = _string(said.pop("text")), said.pop(CITATIONS, None)
    if said:
        return (_foreign("text", block),)
    if citations and not (isinstance(citations, list) and all(isinstance(one, dict) for one in citations)):
        raise TypeError
    return (Text(text), Foreign(SHAPE, CITATIONS, canonical_json(citations))) if citations else (Text(text),)


def _image(said: Json) -> Part | None:
    source = dict(said.pop("source"))
    kind = source.pop("type")
    if kind == "base64" and source.keys() == {"media_type", "data"} and not said:
        return Image(media_type=_string(source["media_type"]), data=_string(source["data"]))
    return Image(url=_string(source["url"])) if kind == "url" and source.keys() == {"url"} and not said else None


def _thinking(said: Json) -> Part | None:
    part = Thinking(_string(said.pop("thinking")), _string(said.pop("signature", "")))
    return None if said else part


def _redacted(said: Json) -> Part | None:
    part = Thinking(redacted=_string(said.pop("data")))
    return None if said else part


def _tool_use(said: Json) -> Part | None:
    if said.get("caller") == {"type": "direct"}:
        del said["caller"]
    call = ToolCall(_string(said.pop("id")), _string(said.pop("name")), arguments_of(said.pop("input")))
    return None if said else call


_READERS = {"image": _image, "thinking": _thinking, "redacted_thinking": _redacted, "tool_use": _tool_use}


def _tool_result(said: Json, block: Json, where: str, problems: Problems) -> tuple[Part, tuple[tuple[Place, Raw], ...]]:
    call_id, is_error = _string(said.pop("tool_use_id")), said.pop("is_error", False)
    blocks = read_blocks(said.pop("content", []), f"{where}.content", problems)
    parts = [part for block_ in blocks for part in block_.parts]
    shown = tuple(part for part in parts if isinstance(part, Text | Image))
    if said or len(shown) != len(parts):
        return _foreign("tool_result", block), ()
    inner = [(("content", index, *place), raw) for index, block_ in enumerate(blocks) for place, raw in block_.asides]
    return ToolResult(call_id, shown, bool(is_error)), tuple(inner)


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def arguments_of(value: object) -> str:
    """Write a tool call's `input` as JSON text."""
    if not isinstance(value, dict):
        raise TypeError
    if value.keys() == {_INVALID} and isinstance(value[_INVALID], str):
        return str(value[_INVALID])
    return msgspec.json.encode(value).decode()


def input_of(arguments: str) -> Raw | Json:
    """Turn a tool call's arguments into its `input`, byte for byte where they are an object."""
    try:
        _object.decode(arguments or "{}")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {_INVALID: arguments}
    return Raw((arguments or "{}").encode())


_object = msgspec.json.Decoder(Json)


class Marks:
    """Look up the asides of one message or tool by their places."""

    def __init__(self, asides: Iterable[Aside], home: Place) -> None:
        size = len(home)
        self._found = {aside.at[size:]: aside.json for aside in asides if aside.at[:size] == home}

    def __bool__(self) -> bool:
        return bool(self._found)

    def put(self, block: Json, *place: str | int, names: Iterable[str] = (_CACHE,)) -> Json:
        """Return the block with what stood there."""
        for name in names:
            raw = self._found.get((*place, name))
            if raw is not None:
                block[name] = raw
        return block


NO_MARKS = Marks((), ())


def write_blocks(parts: Iterable[Part], marks: Marks, field: str, problems: Problems) -> list[Json]:
    """Write parts as blocks of a request. Notes what this shape cannot say.

    Thoughts without a signature are another vendor's: Anthropic takes back its own only, and answers as well without
    them, so they are left out.
    """
    blocks: list[Json] = []
    for index, part in enumerate(parts):
        if isinstance(part, Thinking) and not (part.unsealed().signature or part.redacted):
            continue
        if isinstance(part, Foreign) and part.kind == CITATIONS and part.shape == SHAPE and blocks:
            blocks[-1][CITATIONS] = part.json
            continue
        block = _write_block(part, index, marks, f"{field}.{index}", problems)
        blocks.append(marks.put(block, "content", index))
    return blocks


def _write_block(part: Part, index: int, marks: Marks, field: str, problems: Problems) -> Json:
    if isinstance(part, Foreign):
        if part.shape != SHAPE:
            problems.add(field, f"is a part that only the shape of {part.shape} has: {part.kind}")
            return {}
        block = object_of(part.json)
        name = _ID_FIELDS.get(part.kind, "")
        if isinstance(block.get(name), str):
            block[name] = valid_id(block[name])
        return block
    if isinstance(part, ToolCall):
        return answer_block(replace(part, id=valid_id(part.id)))
    if isinstance(part, ToolResult):
        return _write_result(part, index, marks, field, problems)
    if isinstance(part, Image):
        return _write_image(part, field, problems)
    return answer_block(part)


_ID_FIELDS = {"tool_use": "id", "tool_result": "tool_use_id"}
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_NO_ID = re.compile(r"[^a-zA-Z0-9_-]")
ID_KEPT = 40  # characters of an id that help people to find it again
ID_DIGEST = 16  # hexadecimal digits: no two ids of a conversation share them by chance


def valid_id(call_id: str) -> str:
    """Return the id of a call as this shape takes it: itself where it can."""
    if _ID.fullmatch(call_id):
        return call_id
    digest = hashlib.sha256(call_id.encode(errors="surrogatepass")).hexdigest()[:ID_DIGEST]
    return f"{_NO_ID.sub('_', call_id)[:ID_KEPT]}_{digest}"


def _write_result(part: ToolResult, index: int, marks: Marks, field: str, problems: Problems) -> Json:
    block: Json = {"type": "tool_result", "tool_use_id": valid_id(part.call_id)}
    shown = [
        marks.put(_write_block(piece, at, NO_MARKS, f"{field}.content.{at}", problems), "content", index, "content", at)
        for at, piece in enumerate(part.content)
    ]
    if len(shown) == 1 and shown[0].keys() == {"type", "text"}:
        block["content"] = shown[0]["text"]
    elif shown:
        block["content"] = shown
    return block | {"is_error": True} if part.is_error else block


def _write_image(part: Image, field: str, problems: Problems) -> Json:
    if part.detail not in ("", "auto"):
        problems.add(field, "asks for a detail of the image, which Anthropic's shape cannot say")
    image = inline(part)
    if image is None:
        problems.add(field, "is a data URL without the type of the image")
        return {}
    if image.url:
        return {"type": "image", "source": {"type": "url", "url": image.url}}
    return {"type": "image", "source": {"type": "base64", "media_type": image.media_type, "data": image.data}}


def answer_block(part: Part) -> Json:
    """Write a part of an answer as its block, other vendors' thoughts with an empty signature."""
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Thinking):
        if part.redacted:
            return {"type": "redacted_thinking", "data": part.redacted}
        return {"type": "thinking", "thinking": part.text, "signature": part.signature}
    if isinstance(part, ToolCall):
        return {"type": "tool_use", "id": part.id, "name": part.name, "input": input_of(part.arguments)}
    if isinstance(part, Foreign) and part.shape == SHAPE:
        return object_of(part.json)
    return {"type": "text", "text": ""}


def object_of(raw: Raw) -> Json:
    """Decode JSON that we encoded from an object."""
    found: Json = _object.decode(raw)
    return found


def reply_blocks(parts: Iterable[Part]) -> list[Json]:
    """Write an answer's parts as the blocks of a reply; parts of other shapes have no place in it."""
    blocks: list[Json] = []
    for part in parts:
        if isinstance(part, Foreign) and (part.shape != SHAPE or (part.kind == CITATIONS and blocks)):
            if part.shape == SHAPE:
                blocks[-1][CITATIONS] = part.json
            continue
        blocks.append(answer_block(part))
    return blocks
