"""Templates of prompts: `{{input.x}}`, `{{nodes.ID.text}}`, `{{nodes.ID.files}}`.

One pass: what is put in is never looked at again, so that neither a caller's input nor a model's words become a
template. Two braces that are meant as such are written `{{{{` and `}}}}`. Files are fenced blocks with their paths,
behind a fence longer than any in them, so that `wire.fences` reads back exactly what was put in.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from msgspec import Struct

from askonce.domain.errors import Detail, Invalid
from askonce.wire.fences import File

MAX_RENDERED_CHARS = 4_000_000  # a million tokens: more than any model reads
FORMS = "{{input.NAME}}, {{nodes.ID.text}} and {{nodes.ID.files}}"

_MARKS = re.compile(r"\{\{\{\{|\}\}\}\}|\{\{|\}\}")
_NAME = re.compile(r"input((?:\.[A-Za-z0-9_-]+)+)|nodes\.([A-Za-z0-9_-]+)\.(text|files)", re.ASCII)
_FENCES = re.compile(r"^[ \t]*(`{3,})", re.MULTILINE)


class Slot(Struct, frozen=True):
    """Name what is put in: a value of the input by its path, or a node's text or files."""

    kind: Literal["input", "text", "files"]
    path: tuple[str, ...] = ()
    node: str = ""

    def __str__(self) -> str:
        """Write it as it stands in a template."""
        return f"nodes.{self.node}.{self.kind}" if self.node else f"input.{'.'.join(self.path)}"


Part = str | Slot


def read_template(text: str) -> tuple[Part, ...]:
    """Take a template apart. Raises `Invalid`, whose message is the second half of a sentence."""
    return tuple(_parts(text))


def _parts(text: str) -> Iterator[Part]:
    at = 0
    while (mark := _MARKS.search(text, at)) is not None:
        if mark.start() > at:
            yield text[at : mark.start()]
        at = mark.end()
        if mark[0] in ("{{{{", "}}}}"):
            yield mark[0][:2]
        elif mark[0] == "}}":
            raise _wrong("holds }} without {{ before it (write }}}} for two braces)")
        else:
            end = text.find("}}", at)
            if end < 0:
                raise _wrong("holds {{ without }} behind it (write {{{{ for two braces)")
            yield _slot(text[at:end].strip())
            at = end + 2
    if at < len(text):
        yield text[at:]


def _slot(name: str) -> Slot:
    match = _NAME.fullmatch(name)
    if match is None:
        raise _wrong(f"holds {{{{{name[:60]}}}}}, which is nothing that can be put in: there are {FORMS}")
    if match[1]:
        return Slot("input", tuple(match[1][1:].split(".")))
    return Slot("text" if match[3] == "text" else "files", (), match[2])


def slots_of(parts: Iterable[Part]) -> list[Slot]:
    """Return what a template wants."""
    return [part for part in parts if isinstance(part, Slot)]


def value_at(input: Any, path: Sequence[str]) -> Any:
    """Return a value of the input. Raises `KeyError` with the first name that is not there."""
    for name in path:
        if not isinstance(input, dict) or name not in input:
            raise KeyError(name)
        input = input[name]
    return input


def render(parts: Iterable[Part], fill: Callable[[Slot], str]) -> str:
    """Fill a template in. Raises `Invalid` where that grows too large."""
    found: list[str] = []
    size = 0
    for part in parts:
        text = part if isinstance(part, str) else fill(part)
        size += len(text)
        if size > MAX_RENDERED_CHARS:
            raise _wrong(f"is longer than {MAX_RENDERED_CHARS:,} characters, filled in")
        found.append(text)
    return "".join(found)


def blocks_of(files: Iterable[File]) -> str:
    """Write files as fenced blocks with their paths."""
    return "\n\n".join(map(_block, files))


def _block(file: File) -> str:
    longest = max((len(fence) for fence in _FENCES.findall(file.content)), default=2)
    fence = "`" * max(3, longest + 1)
    content = file.content if file.content.endswith("\n") or not file.content else file.content + "\n"
    return f"{fence}{file.language or 'text'} {file.path}\n{content}{fence}"


def _wrong(problem: str) -> Invalid:
    return Invalid(problem, details=[Detail("prompt", problem)])
