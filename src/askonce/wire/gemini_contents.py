"""A conversation in Google's shape: `systemInstruction` and `contents`, written. Pure.

The format is Google's "Gemini API reference", `Content` and `Part`, and its guides "Function calling" and "Thought
signatures". Decisions:
- Leading system messages become `systemInstruction`; a later one has no place and is refused.
- What a model said in a row is one content, and so are the results of its calls: a call must follow a turn of the
  other side, and its results must stand together behind it.
- A result's text is `{"output": …}`, that of a failed call `{"error": …}`, as the reference has it.
- A signature that Google gave with a call comes back with that call. It travels in a `Thinking` in front of the call,
  marked by `SEAL`, so that it is never taken for another vendor's. Another vendor's is a seal on its own words for
  its own eyes: its text is passed on as a thought, the seal is not. Redacted thinking is nothing but seal: refused.
- Models from Gemini 3 on refuse calls without a signature, so one that they did not make themselves gets `SKIP`, with
  which the guide lets such conversations go on. All of them, not the latest turn's only: the prefix stays the same.
- Pictures in a result stand in `functionResponse.parts` where the guide ("Multimodal function responses") has them:
  inline ones, from Gemini 3 on. Older models refuse those parts, and none knows `fileData` there (reference,
  `FunctionResponsePart`): such pictures follow in a turn of the user's own, because a turn of results must have as many
  parts as there were calls. A text says of which call they are.
- Pictures are inline, or at Google; no other address is fetched, by us or by Google, so it is refused.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from askonce.domain.call import Message
from askonce.domain.content import (
    GOOGLES,
    Foreign,
    Image,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    as_parts,
    text_of,
)
from askonce.domain.errors import Detail, Invalid
from askonce.wire.data_urls import inline, is_data

Json = dict[str, Any]

SEAL = GOOGLES
PICTURES_OF = "Pictures in the result of the call {} of {}:"  # stands before them where they went
SKIP = "skip_thought_signature_validator"

# Where a file lives that Google itself holds: its Files API, and its Cloud Storage.
FILE_ADDRESSES = ("https://generativelanguage.googleapis.com/", "gs://")

PROBLEMS_CEILING = 20  # more are no help to anyone
NAMED_MAX = 100  # what a caller sent comes back to it, but no more of it than tells what is meant


class Unsayable:
    """Collect what this shape cannot say, by the names of the fields."""

    def __init__(self) -> None:
        self._found: list[Detail] = []

    def add(self, field: str, problem: str) -> None:
        """Note one problem; beyond the ceiling none."""
        if len(self._found) < PROBLEMS_CEILING:
            self._found.append(Detail(field[:NAMED_MAX], problem))

    def refuse(self, model: str) -> None:
        """Raise `Invalid` that names everything noted, if anything was."""
        if self._found:
            said = "; ".join(f"{one.field} {one.problem}" for one in self._found)
            raise Invalid(f"{model} is asked in Gemini's shape, which cannot say this: {said}.", details=self._found)


def conversation(messages: Sequence[Message], sealed: bool, unsayable: Unsayable) -> Json:
    """Write `systemInstruction` and `contents`. `sealed`: is the model of Gemini 3 or later?

    Those want a signature with their calls, and take pictures within a result.
    """
    first = next((at for at, one in enumerate(messages) if not _is_system(one)), len(messages))
    told = [
        _instruction(part, f"messages[{at}].content", unsayable)
        for at, message in enumerate(messages[:first])
        for part in as_parts(message.content)
    ]
    writer = _Writer(sealed, unsayable)
    for at, message in enumerate(messages):
        if message.name:
            unsayable.add(f"messages[{at}].name", "has no place there")
        if at >= first:
            writer.add(message, f"messages[{at}]")
    writer.end()
    if not writer.contents:
        unsayable.add("messages", "must hold more than the system's")
    body: Json = {"systemInstruction": {"parts": told}} if told else {}
    return body | {"contents": writer.contents}


def _is_system(message: Message) -> bool:
    return message.role in ("system", "developer")


def _instruction(part: Part, field: str, unsayable: Unsayable) -> Json:
    if not isinstance(part, Text):
        unsayable.add(field, "must be text where the system speaks")
        return {}
    return {"text": part.text}


class _Writer:
    """Write the turns, one after the other."""

    def __init__(self, sealed: bool, unsayable: Unsayable) -> None:
        self.contents: list[Json] = []
        self._sealed = sealed
        self._unsayable = unsayable
        self._names: dict[str, str] = {}  # of the functions, by the ids of their calls
        self._last = ""
        self._pictures: list[Json] = []  # of the results written last, with a text before those of each

    def add(self, message: Message, field: str) -> None:
        if _is_system(message):
            self._unsayable.add(field, "is a system message behind the beginning, for which there is no place")
            return
        parts = as_parts(message.content)
        if message.role != "tool":
            self.end()
        if message.role == "assistant":
            written = self._said(parts, field)
        else:
            written = [self._heard(part, f"{field}.content[{at}]") for at, part in enumerate(parts)]
        if message.role == self._last and self._last in ("assistant", "tool"):
            self.contents[-1]["parts"] += written
        else:
            role = "model" if message.role == "assistant" else "user"
            self.contents.append({"role": role, "parts": written or [{"text": ""}]})
        self._last = message.role

    def end(self) -> None:
        """Write the pictures of the last results behind all of these, which stand together."""
        if self._pictures:
            self.contents.append({"role": "user", "parts": self._pictures})
            self._pictures = []

    def _said(self, parts: Iterable[Part], field: str) -> list[Json]:
        """Write what the model said. Seals go to the calls in order: some shapes keep thoughts apart from calls."""
        written: list[Json] = []
        seals: list[str] = []
        calls = 0
        for at, part in enumerate(parts):
            where = f"{field}.content[{at}]"
            if isinstance(part, Thinking):
                if part.signature.startswith(SEAL):
                    seals.append(part.signature.removeprefix(SEAL))
                written += self._thought(part, where)
            elif isinstance(part, ToolCall):
                call = self._call(part, where)
                # Of calls that are made together the first must have one.
                seal = seals.pop(0) if seals else SKIP if self._sealed and not calls else ""
                written.append(call | ({"thoughtSignature": seal} if seal else {}))
                calls += 1
            else:
                written.append(self._plain(part, where))
        return written

    def _thought(self, part: Thinking, where: str) -> list[Json]:
        if part.redacted:
            self._unsayable.add(where, "is redacted thinking, which only the vendor that made it can read")
        return [{"text": part.text, "thought": True}] if part.text else []

    def _call(self, call: ToolCall, where: str) -> Json:
        self._names[call.id] = call.name
        arguments = call.arguments or "{}"
        try:
            whole = isinstance(msgspec.json.decode(arguments), dict)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            whole = False
        if not whole:
            self._unsayable.add(where, f"calls {call.name[:NAMED_MAX]} with arguments that are no JSON object")
            return {}
        return {"functionCall": {"id": call.id, "name": call.name, "args": Raw(arguments.encode())}}

    def _heard(self, part: Part, where: str) -> Json:
        return self._result(part, where) if isinstance(part, ToolResult) else self._plain(part, where)

    def _result(self, result: ToolResult, where: str) -> Json:
        name = self._names.get(result.call_id)
        if name is None:
            self._unsayable.add(where, "answers a call that does not stand before it, so its function has no name")
            return {}
        images = [part for part in result.content if isinstance(part, Image)]
        inside = [self._plain(part, where) for part in images if self._holds(part)]
        behind = [self._plain(part, where) for part in images if not self._holds(part)]
        if behind:
            self._pictures += [{"text": PICTURES_OF.format(result.call_id, name)}, *behind]
        text = text_of(result.content)
        response: Json = {"id": result.call_id, "name": name, "response": {}}
        if text or not images:
            response["response"] = {"error" if result.is_error else "output": text}
        elif result.is_error:
            response["response"] = {"error": ""}
        return {"functionResponse": response | ({"parts": inside} if inside else {})}

    def _holds(self, image: Image) -> bool:
        """Say whether a picture can stand in a result."""
        return self._sealed and (not image.url or is_data(image.url))

    def _plain(self, part: Part, where: str) -> Json:
        if isinstance(part, Text):
            return {"text": part.text}
        image = inline(part) if isinstance(part, Image) else None
        if image is not None and not image.url:
            return {"inlineData": {"mimeType": image.media_type, "data": image.data}}
        if image is not None and image.url.startswith(FILE_ADDRESSES):
            return {"fileData": {"fileUri": image.url}}
        self._unsayable.add(where, _why_not(part))
        return {}


def _why_not(part: Part) -> str:
    if isinstance(part, Foreign):
        return f"is {part.kind}, which only the shape {part.shape} has"
    if isinstance(part, Image) and is_data(part.url):
        return "is a data URL without the type of the image"
    if isinstance(part, Image):
        return "is an image at an address outside of Google: send its data, or upload it to Google's Files API"
    return f"is {type(part).__name__}, which has no place in that role"
