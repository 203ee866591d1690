"""Templates of prompts: `{{input.x}}`, `{{nodes.ID.text}}`, `{{nodes.ID.files}}`.

One pass: what is put in is never looked at again, so that neither a caller's input nor a model's words become a
template. Two braces that are meant as such are written four times: `{{{{` and `}}}}`; a single one is itself. Files
are fenced blocks with their paths, on lines of their own, which `wire.fences` reads back as they were.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, get_args

from msgspec import Struct

from askonce.domain.errors import Detail, Invalid
from askonce.routing.resolve import nearest
from askonce.wire.fence_claims import read_comment, read_info
from askonce.wire.fence_languages import breaks
from askonce.wire.fences import File

NodePart = Literal["text", "files"]
NODE_PARTS: tuple[NodePart, ...] = get_args(NodePart)
MAX_RENDERED_CHARS = 4_000_000  # a million tokens: more than any model reads
FORMS = "{{input.NAME}}, {{nodes.ID.text}} and {{nodes.ID.files}}"

_MARKS = re.compile(r"\{\{\{\{|\}\}\}\}|\{\{|\}\}")
_NAME = re.compile(r"input((?:\.[A-Za-z0-9_-]+)+)|nodes\.([A-Za-z0-9_-]+)\.(text|files)", re.ASCII)
_COMMENT_LINES = 4  # in which `wire.fences` looks for a path
_COMMENT = "# x.txt"


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
        shown = f"{{{{{name[:60]}}}}}"
        raise _wrong(f"holds {shown}, which is nothing that can be put in{_meant(name)}: there are {FORMS}")
    if match[1]:
        return Slot("input", tuple(match[1][1:].split(".")))
    return Slot("text" if match[3] == "text" else "files", (), match[2])


def _meant(name: str) -> str:
    """Suggest what was probably meant."""
    head, _, rest = name.partition(".")
    head = nearest(head, ("input", "nodes")) or head
    if head == "nodes":
        id, _, part = rest.partition(".")
        rest = f"{id}.{nearest(part, NODE_PARTS) or 'text'}"
    return f" (did you mean {{{{{head}.{rest}}}}}?)" if len(rest) < 100 and _NAME.fullmatch(f"{head}.{rest}") else ""


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
    """Fill a template in; files get lines of their own. Raises `Invalid` where that grows too large."""
    found: list[str] = []
    size, behind_files = 0, False
    for part in parts:
        text = part if isinstance(part, str) else fill(part)
        if not text:
            continue
        is_files = isinstance(part, Slot) and part.kind == "files"
        if found and (is_files or behind_files) and not found[-1].endswith("\n") and not text.startswith("\n"):
            text = "\n" + text
        size += len(text)
        if size > MAX_RENDERED_CHARS:
            problem = f"is longer than {MAX_RENDERED_CHARS:,} characters, filled in"
            raise Invalid(f"The prompt {problem}.", details=[Detail("prompt", problem)])
        found.append(text)
        behind_files = is_files
    return "".join(found)


def blocks_of(files: Iterable[File]) -> str:
    """Write files as fenced blocks with their paths.

    `wire.fences.parse` reads back exactly the files that it once made, but for the end of a last line that had none.
    """
    return "\n\n".join(map(_block, files))


def _block(file: File) -> str:
    info, content = _info(file), file.content
    char = "~" if "`" in info else "`"  # which may not stand behind a fence of its own kind
    longest = max(map(len, re.findall(char + "{3,}", content)), default=2)
    if content and not content.endswith("\n"):
        content += "\n"
    lines = content.split("\n", _COMMENT_LINES)[:_COMMENT_LINES]
    comment = read_comment(lines)
    if comment and breaks(lines[comment[1]], file.path):
        # The reader takes one such line off, as models put them where they do not belong; not the file's own.
        content = f"{_COMMENT}\n{content}"
    fence = char * (longest + 1)
    return f"{fence}{info}\n{content}{fence}"


def _info(file: File) -> str:
    """Write language and path so that they are read back, also where the path holds blanks or looks like a word."""
    plain = f"{file.language} {file.path}".strip(" ")
    if read_info(plain) == (file.language, file.path):
        return plain
    return f'{file.language} path="./{file.path}"'.strip(" ")


def _wrong(problem: str) -> Invalid:
    return Invalid(problem, details=[Detail("prompt", problem)])
