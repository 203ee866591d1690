"""Formats of data by strict readers: JSON (msgspec), TOML (tomllib), YAML (libyaml, where PyYAML has it).

They tell more exactly than a grammar what is wrong. Nothing is built of YAML but its events, so that an alias costs
nothing, however often it stands there, and a tag makes nothing.
"""

import re
import tomllib
from collections.abc import Callable
from typing import Any

import msgspec
import yaml

from askonce.workflows.quality.trees import Stumble

# Whatever reads the file later may go deeper than our readers do.
_TOO_DEEP = Stumble(1, 1, "This is nested too deeply to be read.", surely=False)

_BYTE = re.compile(r"\(byte (\d+)\)$")
_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
# A string, or what JSON with comments has besides JSON: comments, and commas before a closing bracket.
_COMMENTED = re.compile(
    r'"(?:[^"\\\n]|\\.)*"|(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<comma>,)(?=(?:\s|//[^\n]*\n|/\*.*?\*/)*[\]}])', re.DOTALL
)
_NOT_NEWLINE = re.compile(r"[^\n]")


def json_stumbles(text: str) -> list[Stumble]:
    """Read JSON as RFC 8259 has it."""
    try:
        msgspec.json.decode(text)
    except RecursionError:
        return [_TOO_DEEP]
    except msgspec.DecodeError as error:
        return [_json_stumble(text, str(error))]
    return []


def jsonc_stumbles(text: str) -> list[Stumble]:
    """Read JSON that may hold comments and trailing commas."""
    return json_stumbles(_COMMENTED.sub(_blank, text))


def jsonl_stumbles(text: str) -> list[Stumble]:
    """Read one JSON value per line; tells of the first line that is none."""
    for number, line in enumerate(text.split("\n"), 1):
        for stumble in json_stumbles(line) if line.strip() else []:
            return [stumble._replace(line=number)]
    return []


def toml_stumbles(text: str) -> list[Stumble]:
    """Read TOML 1.0."""
    try:
        tomllib.loads(text)
    except RecursionError:
        return [_TOO_DEEP]
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        at = _AT.search(said)
        line, column = (int(at[1]), int(at[2])) if at and at[1] else _end(text)
        return [_stumble(line, column, _sentence(_AT.sub("", said)))]
    return []


def yaml_stumbles(text: str) -> list[Stumble]:
    """Read YAML 1.1, all documents; an alias must have its anchor before it."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    known: set[str] = set()
    try:
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.DocumentStartEvent):
                known = set()
            elif isinstance(event, yaml.AliasEvent) and event.anchor not in known:
                return [_stumble(*_place(event.start_mark), f"There is no anchor `{event.anchor}` before this.")]
            elif isinstance(event, yaml.NodeEvent) and event.anchor is not None:
                known.add(event.anchor)
    except RecursionError:
        return [_TOO_DEEP]
    except yaml.MarkedYAMLError as error:
        place = _place(error.problem_mark or error.context_mark)
        return [_stumble(*place, _sentence(error.problem or error.context or "This cannot be read"))]
    except yaml.YAMLError as error:  # a character that YAML does not allow
        return [_stumble(1, 1, _sentence(str(error).partition("\n")[0]))]
    return []


READERS: dict[str, tuple[str, Callable[[str], list[Stumble]]]] = {
    "json": ("msgspec", json_stumbles),
    "jsonc": ("msgspec", jsonc_stumbles),
    "jsonl": ("msgspec", jsonl_stumbles),
    "toml": ("tomllib", toml_stumbles),
    "yaml": ("libyaml", yaml_stumbles),
}


def _json_stumble(text: str, said: str) -> Stumble:
    at = _BYTE.search(said)
    said = _BYTE.sub("", said).strip().removeprefix("JSON is malformed: ")
    if at is None:
        return _stumble(*_end(text), _sentence(said))
    before = text.encode("utf-8", "replace")[: int(at[1])].decode("utf-8", "replace")
    return _stumble(before.count("\n") + 1, len(before) - before.rfind("\n"), _sentence(said))


def _blank(found: re.Match[str]) -> str:
    """Blank out what JSON does not have, so that places stay the same."""
    return _NOT_NEWLINE.sub(" ", found[0]) if found["comment"] or found["comma"] else found[0]


def _place(mark: Any) -> tuple[int, int]:
    """Return line and column of a mark of PyYAML's, of which it has two kinds without a common type, or of none."""
    return (1, 1) if mark is None else (mark.line + 1, mark.column + 1)


def _stumble(line: int, column: int, message: str) -> Stumble:
    return Stumble(line, column, message, True)


def _end(text: str) -> tuple[int, int]:
    text = text.rstrip("\n")
    return text.count("\n") + 1, len(text) - text.rfind("\n")


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:].rstrip(".") + "."
