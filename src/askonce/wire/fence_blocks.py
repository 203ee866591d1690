"""The grammar of lines: what is a fence, and what one block gathers."""

import re
from typing import NamedTuple

from askonce.wire.fence_claims import read_comment, read_info
from askonce.wire.fence_languages import (
    breaks,
    contradicts,
    is_commands,
    is_edit,
    is_markdown,
    is_prose,
    language_of,
)

# Deeper fences are text.
MAX_NESTING = 16
# A closing fence may be indented by so much more than its opening one (CommonMark).
CLOSING_INDENT = 3

_FENCE = re.compile(r"([ \t]*)(`{3,}(?=[^`]*$)|~{3,})(.*)")
_LISTED = re.compile(r"([ \t]*(?:[-*+]|\d{1,3}[.)])[ \t]+)(`{3,}(?=[^`]*$)|~{3,})(.*)")
_AFTER_PROSE = re.compile(r"([^`]*[^`\s][ \t]*)(`{3,})([\w+#.-]*[ \t]*)$")


class Fence(NamedTuple):
    """Hold a fence: the columns and characters before it, its character, its length, what follows, prose before it."""

    indent: int
    margin: int
    char: str
    length: int
    info: str
    prose: str = ""

    def bare(self) -> bool:
        """Say whether nothing follows, so that it can close."""
        return not self.info

    def closes(self, opening: "Fence") -> bool:
        """Say whether its character, length and indentation would do to close the other."""
        return (
            self.char == opening.char
            and self.length >= opening.length
            and self.indent <= opening.indent + CLOSING_INDENT
        )


def fence_at(line: str) -> Fence | None:
    """Read a line that is a fence and nothing else."""
    if "```" not in line and "~~~" not in line:
        return None
    found = _FENCE.match(line)
    return _made(found) if found else None


def opening_at(line: str) -> Fence | None:
    """Read a line that opens a block: a fence, also behind a list marker or at the end of a line of prose."""
    if "```" not in line and "~~~" not in line:
        return None
    found = _FENCE.match(line) or _LISTED.match(line)
    if found:
        return _made(found)
    found = _AFTER_PROSE.match(line)
    return Fence(0, 0, "`", len(found[2]), found[3].strip(), found[1].strip()) if found else None


def _made(found: re.Match[str]) -> Fence:
    before, mark, info = found.groups()
    return Fence(len(before.expandtabs(4)), len(before), mark[0], len(mark), info.strip(" \t"))


def is_label_like(line: str) -> bool:
    """Say whether a fence may follow: after an empty line or a colon, a bare fence opens rather than closes."""
    line = line.rstrip()
    return not line or line.endswith(":")


class Block:
    """Gather one block. Its lines keep their ends, so that joined they are the content.

    `claim` is the path claimed by the info string or the label. `nested` holds the lengths of the fences that are
    open inside, `first_nested` the number of the first such line.
    """

    def __init__(self, fence: Fence, label: str | None) -> None:
        self.fence = fence
        self.tag, self.claim = read_info(fence.info)
        if self.claim is None and label is not None and not contradicts(self.tag, label):
            self.claim = label
        self.markdown = is_markdown(self.tag or language_of(self.claim or ""))
        self.lines: list[str] = []
        self.nested: list[int] = []
        self.first_nested: int | None = None

    def add(self, line: str) -> None:
        """Add a line without the margin that it has from its fence."""
        margin = self.fence.margin
        self.lines.append(line[:margin].lstrip(" \t") + line[margin:] if margin else line)

    def nest(self, fence: Fence) -> None:
        """Note that the next line opens a fence inside."""
        if self.first_nested is None:
            self.first_nested = len(self.lines)
        if len(self.nested) < MAX_NESTING:
            self.nested.append(fence.length)

    def is_blank(self) -> bool:
        """Say whether nothing but white space is inside."""
        return not any(line.strip() for line in self.lines)

    def trim(self) -> None:
        """Take off what was meant to close a block that the text's end left open.

        That is a fence too short or indented too far, or one at the end of the last line of code.
        """
        while self.lines and not self.lines[-1].strip():
            self.lines.pop()
        last = self.lines[-1].rstrip() if self.lines else ""
        fence = fence_at(last)
        if fence and fence.bare() and not self.nested:
            self.lines.pop()
        elif last.endswith("`" * 3) and last.count("`") == self.fence.length and not self.markdown:
            self.lines[-1] = last.rstrip("`") + "\n"

    def settle_claim(self) -> None:
        """Let the first comment claim the path if nothing else did; drop it where it is none."""
        found = read_comment([line.rstrip("\n") for line in self.lines[:4]])
        if not found:
            return
        claim, number = found
        if self.claim is None and not contradicts(self.tag, claim):
            self.claim = claim
        if self.claim is not None and breaks(self.lines[number], self.claim):
            del self.lines[number]

    def is_edit(self) -> bool:
        """Say whether it changes a file instead of holding it."""
        first = next((line for line in self.lines if line.strip()), "")
        return is_edit(self.tag, first) and language_of(self.claim or "") != "diff"

    def rank(self, language: str) -> int:
        """Tell how well the block does for `code`; 0 is best."""
        if self.is_blank():
            return 4
        if is_prose(language):
            return 3
        if is_commands(language, self.lines):
            return 2
        return 0 if language or self.claim else 1
