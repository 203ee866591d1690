"""From an answer's text to code and files: one tolerant reader of fenced blocks, line by line, in linear time.

The rules, where CommonMark (0.31, section 4.5) leaves room or models do otherwise:

- A fence may be indented, stand behind a list marker, or end a line of prose.
- In a block, a fence with a tag opens a nested block, as models write them, although CommonMark would not nest.
  In Markdown so does a bare one with an empty line or a colon before it and text at once behind it.
- A block that is never closed ends with the text; one that is empty then is a stray mark, and no block at all.
  If it holds fences and is not Markdown, then it was left open by mistake, and what seemed nested comes behind it.
- A wrapper is transparent: a Markdown block around the whole answer, or a first block that begins with a label or a
  fence. A Markdown block that begins like a document (with a heading, say) is that document, fences included.
- Reasoning between `<think>` and `</think>` at the beginning is not part of the answer.
- Only a block that claims a path becomes a file; no name is ever made up. A diff or a search-and-replace edit is no
  file's content, and commands below a program's name are not that program.
- Line ends become LF. All else between the fences stays as it is, but for the fence's own indentation and a first
  line that names the file where that is no comment (in JSON, or `# a.js`).

`code` is the content of the only block or, of several, of the first that is neither prose, nor only commands that
install or run something, nor untagged beside tagged ones; where there is none, of the first of the next best kind.
Without any block it is the text. No mark that opens or closes a block is ever in it.
"""

import re

from msgspec import Struct

from askonce.wire.fence_blocks import Block, Fence, fence_at, is_label_like, opening_at
from askonce.wire.fence_claims import is_heading, read_label
from askonce.wire.fence_languages import is_markdown, language_of
from askonce.wire.fence_paths import UnsafePath, vet

# An answer of the longest kind has a few hundred; what is over it is no project but an accident.
MAX_FILES = 1000
# Enough to see what is wrong; they travel in every reply.
MAX_WARNINGS = 20
# A label may stand so many empty lines above its block,
LABEL_GAP = 2
# and a heading so many lines of explanation.
HEADING_REACH = 3

_DOCUMENT = re.compile(r"[ \t]{0,3}(?:#{1,6}(?:[ \t]|$)|---|\+\+\+|<|!\[|\[|\|)")
_THINK = re.compile(r"\s*<think(?:ing)?>", re.IGNORECASE)
_THOUGHT = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_BLANK_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")
_ONE_LINE = re.compile(r"(`{3,})([^`\n]+)\1")


class File(Struct, frozen=True):
    """Hold one generated file. `path` is relative and safe to join to a folder; `language` may be ""."""

    path: str
    language: str
    content: str


class Parsed(Struct, frozen=True):
    """Hold what a text has to offer. `warnings` are sentences for people."""

    code: str
    files: tuple[File, ...]
    warnings: tuple[str, ...]


def parse(text: str) -> Parsed:
    """Read a whole text. Never raises."""
    reader = FenceReader()
    reader.feed(text)
    return reader.finish()


class FenceReader:
    """Read a text piece by piece; how it is cut makes no difference.

    Each file is returned once its block is complete, by `feed` or, for what only the end completes, by `close`. A
    later one with the same path replaces the earlier.
    """

    def __init__(self) -> None:
        self._pending: list[str] = []  # the beginning of a line
        self._held_cr = False
        self._closed = False
        self._thinking: bool | None = None  # None: nothing but white space so far
        self._block: Block | None = None
        self._wrapper: Fence | None = None
        self._may_wrap = False  # has the open block, perhaps a wrapper, no line yet that tells?
        self._doubtful: Fence | None = None  # opens or closes? the next line tells
        self._nesting = True
        self._previous = self._label = self._heading = ""
        self._gap = self._reach = 0
        self._loose: list[str] = []  # the text, while there is no block
        self._best: dict[int, tuple[str, str]] = {}  # by rank: path and content of the first block
        self._files: dict[str, File] = {}
        self._fresh: list[File] = []
        self._warnings: list[str] = []

    def feed(self, text: str) -> list[File]:
        """Return the files that this piece completes."""
        if self._held_cr:
            text = "\r" + text
        self._held_cr = text.endswith("\r")
        if "\r" in text:
            text = text[: len(text) - self._held_cr].replace("\r\n", "\n").replace("\r", "\n")
        self._pending.append(text)
        if "\n" not in text:
            return []
        lines = "".join(self._pending).split("\n")
        self._pending = [lines.pop()]
        for line in lines:
            self._line(line, "\n")
        return self._take_fresh()

    def close(self) -> list[File]:
        """End the text and return the files that only its end completes. Nothing may be fed after it."""
        if self._closed:
            return []
        self._closed = True
        last = "".join(self._pending)
        if last or self._held_cr:
            self._line(last, "\n" if self._held_cr else "")
        self._settle_doubt("")
        if self._block:
            self._leave_open(self._block)
        return self._take_fresh()

    def finish(self) -> Parsed:
        """Return what the whole text has to offer; closes it if that was not done."""
        self.close()
        return Parsed(self._code(), tuple(self._files.values()), tuple(self._warnings))

    def _take_fresh(self) -> list[File]:
        fresh, self._fresh = self._fresh, []
        return fresh

    def _code(self) -> str:
        if self._best:
            path, content = self._best[min(self._best)]
            return self._files[path].content if path in self._files else content
        text = _BLANK_LINES.sub("", "".join(self._loose).rstrip(), count=1)
        one_line = _ONE_LINE.fullmatch(text.strip())
        return one_line[2].strip() if one_line else text

    # --- outside of a block ---

    def _line(self, line: str, end: str) -> None:
        self._settle_doubt(line)
        if self._block:
            self._inside(self._block, line, end)
        elif self._thinking is not False:
            self._think(line, end)
        else:
            self._outside(line, end)

    def _think(self, line: str, end: str) -> None:
        """Pass over reasoning; what comes before the first word may yet be its beginning."""
        if self._thinking is None:
            if not line.strip():
                return
            self._thinking = bool(_THINK.match(line))
        thought = _THOUGHT.search(line) if self._thinking else None
        if thought:
            self._thinking = False
            self._loose.clear()
            line = line[thought.end() :]
        if not self._thinking:
            self._outside(line, end)
        elif not fence_at(line):
            self._loose.append(line + end)

    def _outside(self, line: str, end: str) -> None:
        fence = opening_at(line)
        if fence is None:
            self._note(line)
            if not self._best:
                self._loose.append(line + end)
        elif self._wrapper and fence.bare() and not fence.prose and fence.closes(self._wrapper):
            if is_label_like(self._previous):
                self._doubtful = fence
            else:
                self._end_wrapper()
        else:
            self._open(fence)

    def _note(self, line: str) -> None:
        """Remember what may be the next block's label."""
        self._previous = line
        if not line.strip():
            self._gap += 1
            return
        self._label, self._gap = line, 0
        self._reach += 1
        if is_heading(line):
            self._heading, self._reach = line, 0

    def _open(self, fence: Fence) -> None:
        if fence.prose:
            self._note(fence.prose)
            self._loose.append(fence.prose + "\n")
        claim = read_label(self._label) if self._gap <= LABEL_GAP else None
        if claim is None and self._reach <= HEADING_REACH:
            claim = read_label(self._heading)
        self._block = Block(fence, claim)
        self._may_wrap = not self._best and not self._wrapper and not self._block.claim
        self._previous = self._label = self._heading = ""

    def _end_wrapper(self) -> None:
        self._wrapper = None
        if not self._best:
            self._best[3] = ("", "".join(self._loose))

    # --- inside of a block ---

    def _inside(self, block: Block, line: str, end: str) -> None:
        if self._may_wrap and line.strip():
            self._may_wrap = False
            if self._wraps(block, line):
                self._block, self._wrapper = None, block.fence
                self._outside(line, end)
                return
        fence = fence_at(line)
        if fence and fence.closes(block.fence):
            if not fence.bare():
                if not self._nesting:
                    self._complete(block)
                    self._outside(line, end)
                    return
                block.nest(fence)
            elif not block.nested:
                self._close_block(block, fence)
                return
            elif fence.length >= block.nested[-1]:
                block.nested.pop()
        block.add(line + end)

    def _wraps(self, block: Block, line: str) -> bool:
        """Say by its first line whether the answer's first block is only a wrapper."""
        fence = fence_at(line)
        if block.tag and not is_markdown(block.tag):
            return False
        if fence and not fence.bare():
            return True
        if not block.tag:
            return False
        label = read_label(line)
        if label:
            return not is_markdown(language_of(label))
        return not _DOCUMENT.match(line) and not any(text.strip() for text in self._loose)

    def _close_block(self, block: Block, fence: Fence) -> None:
        if block.markdown and is_label_like(block.lines[-1] if block.lines else ""):
            self._doubtful = fence
        else:
            self._complete(block)

    def _settle_doubt(self, line: str) -> None:
        """Decide by the line behind it whether a bare fence in Markdown opened or closed; "" ends the text."""
        fence, self._doubtful = self._doubtful, None
        if fence is None:
            return
        opens = bool(line.strip()) and not fence_at(line)
        if self._block and opens:
            self._block.nest(fence)
            self._block.add(" " * fence.margin + fence.char * fence.length + "\n")
        elif self._block:
            self._complete(self._block)
        elif opens:
            self._open(fence)
        else:
            self._end_wrapper()

    def _leave_open(self, block: Block) -> None:
        """End a block with the text."""
        if block.first_nested is not None and not block.markdown:
            self._nesting = False
            rest = block.lines[block.first_nested :]
            del block.lines[block.first_nested :]
            self._complete(block)
            for line in rest:
                self._line(line.removesuffix("\n"), "\n" if line.endswith("\n") else "")
            if not self._block:
                return
            block = self._block
        block.trim()
        if block.is_blank():
            self._block = None
        else:
            self._complete(block)

    # --- a block's end ---

    def _complete(self, block: Block) -> None:
        """Make a file of a block if it claims a path that may be used, and consider it for `code`."""
        self._block = None
        block.settle_claim()
        path = self._path(block)
        language = block.tag or language_of(path)
        content = "".join(block.lines)
        if path:
            file = File(path, language, content)
            self._files[path] = file
            self._fresh.append(file)
        self._best.setdefault(block.rank(language), (path, content))
        self._loose.clear()

    def _path(self, block: Block) -> str:
        """Return the path of the file that the block is, or ""."""
        if block.claim is None:
            return ""
        try:
            path = vet(block.claim)
        except UnsafePath as refused:
            self._warn(str(refused))
            return ""
        if block.is_edit():
            self._warn(f"The block for {path!a} only changes that file. It is not among the files.")
            return ""
        if len(self._files) >= MAX_FILES and path not in self._files:
            self._warn(f"There are more than {MAX_FILES} files; the others are left out.")
            return ""
        return path

    def _warn(self, warning: str) -> None:
        if len(self._warnings) < MAX_WARNINGS and warning not in self._warnings:
            self._warnings.append(warning)
