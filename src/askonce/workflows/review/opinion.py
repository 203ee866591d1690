"""What a second model thinks: its answer is an opinion only if it is exactly that, else the opinion is absent.

Tolerant in form: thoughts before it, a fence or a sentence around it. Strict in content: one JSON object with a
verdict, a summary and a list of issues, of the right types. Whoever says both yes and no has said nothing. An absent
opinion is never an approval.
"""

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from askonce.domain.call import Format
from askonce.domain.content import ordered_json

# An honest answer has a few thousand; whatever is longer is no opinion.
MAX_CHARS = 200_000
# How many braces are tried as the beginning of the object.
MAX_TRIES = 100
MAX_ISSUES = 100
MAX_WORDS_CHARS = 2000

Severity = Literal["error", "warning", "note"]


class Issue(Struct, frozen=True):
    """Hold one issue. `line` 0 and `file` "": none was named."""

    severity: Severity
    message: str
    file: str = ""
    line: Annotated[int, Meta(ge=0)] = 0


class Opinion(Struct, frozen=True):
    """Hold what the reviewer said."""

    verdict: Literal["approve", "changes", "reject"]
    summary: str
    issues: tuple[Issue, ...]


class Absent(Struct, frozen=True):
    """Say why there is no opinion, in a sentence."""

    reason: str


# As OpenAI's strict mode wants it: every property is required, and there are no others.
_ISSUE = {
    "type": "object",
    "properties": {
        "file": {"type": "string", "description": "the path, or empty"},
        "line": {"type": "integer", "description": "counted from 1; 0 for the whole file"},
        "severity": {"type": "string", "enum": ["error", "warning", "note"]},
        "message": {"type": "string", "description": "what is wrong, and what to do about it"},
    },
    "required": ["file", "line", "severity", "message"],
    "additionalProperties": False,
}
_SCHEMA = {
    "type": "object",
    "properties": {
        "issues": {"type": "array", "items": _ISSUE},
        "summary": {"type": "string", "description": "two or three sentences"},
        "verdict": {"type": "string", "enum": ["approve", "changes", "reject"]},
    },
    "required": ["issues", "summary", "verdict"],
    "additionalProperties": False,
}
FORMAT = Format("schema", "review", ordered_json(_SCHEMA), True, "A review of source code")

_THOUGHT = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)


class _Said(Struct, frozen=True):
    """Read an issue as models write it: null for what is not there."""

    severity: str
    message: str
    file: str | None = None
    line: Annotated[int, Meta(ge=0)] | None = None


class _Answer(Struct, frozen=True):
    verdict: str
    summary: str
    issues: list[_Said]


def read_opinion(text: str) -> Opinion | Absent:
    """Read a reviewer's answer. Never raises."""
    if not text.strip():
        return Absent("The reviewer's answer is empty.")
    if len(text) > MAX_CHARS:
        return Absent("The reviewer's answer is too long to be an opinion.")
    found = [_read(value) for value in _objects(_THOUGHT.sub("", text)) if "verdict" in value]
    if not found:
        return Absent("The reviewer's answer holds no JSON object with a verdict.")
    wrong = next((one for one in found if isinstance(one, Absent)), None)
    if wrong is not None:
        return wrong
    opinions = [one for one in found if isinstance(one, Opinion)]
    if len({one.verdict for one in opinions}) > 1:
        return Absent("The reviewer's answer holds several verdicts that contradict each other.")
    return opinions[-1]


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Return the outermost JSON objects in a text."""
    at = tries = 0
    while tries < MAX_TRIES and (at := text.find("{", at)) >= 0:
        tries += 1
        try:
            value, at = _decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        yield value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) != len(dict(pairs)):
        raise ValueError("a name stands twice")
    return dict(pairs)


_decoder = json.JSONDecoder(object_pairs_hook=_unique)


def _read(value: dict[str, Any]) -> Opinion | Absent:
    try:
        said = msgspec.convert(value, _Answer, strict=False)
        issues = tuple(_issue(one) for one in said.issues[:MAX_ISSUES])
        opinion = msgspec.convert(
            {"verdict": said.verdict.strip().lower(), "summary": said.summary.strip(), "issues": issues}, Opinion
        )
    except msgspec.ValidationError as error:
        return Absent(f"The reviewer's answer has not the right form: {error}.")
    if not opinion.summary:
        return Absent("The reviewer gave no reasons.")
    return msgspec.structs.replace(opinion, summary=opinion.summary[:MAX_WORDS_CHARS])


def _issue(said: _Said) -> dict[str, Any]:
    return {
        "severity": said.severity.strip().lower(),
        "message": said.message.strip()[:MAX_WORDS_CHARS],
        "file": (said.file or "").strip().removeprefix("./"),
        "line": said.line or 0,
    }
