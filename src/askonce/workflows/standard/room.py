"""Cutting to a number of tokens. What a text has is told by a counter, which should rather err on the high side.

Nothing is cut in silence: whoever cuts gets back what went, for the model to know and for the reader of the node.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct

from askonce.wire.fences import File
from askonce.workflows.templates import blocks_of

Count = Callable[[str], int]

# Between two texts in one message: more than any vocabulary takes for two line ends.
JOINT = 2
# A shorter piece of a text says nothing.
LEAST = 40
# Looks at a text while its longest fitting beginning is searched: halving so often leaves a thousandth.
HALVINGS = 12
# Of a text that is cut in the middle, so much is its beginning.
HEAD = 2 / 3
MAX_NAMED = 8


class Section(Struct, frozen=True):
    """Hold a piece of a message: its heading, and either a text or files. `rank`: lower ones are kept first."""

    heading: str
    rank: int
    text: str = ""
    files: tuple[File, ...] = ()


class Kept(Struct, frozen=True):
    """Hold what is kept of a section, "" for nothing, and in words what is not; `files` are those that are shown."""

    text: str
    lost: str = ""
    files: int = 0


def fit(sections: Sequence[Section], tokens: int, count: Count) -> list[Kept]:
    """Keep of each section what there is room for, those of a lower rank first; whole where that can be.

    Returned in the order in which they came. Joined they may have a few tokens more, as counters are.
    """
    kept: dict[int, Kept] = {}
    for at in sorted(range(len(sections)), key=lambda at: sections[at].rank):
        kept[at] = _fit(sections[at], tokens - JOINT, count)
        if kept[at].text:
            tokens -= count(kept[at].text) + JOINT
    return [kept[at] for at in range(len(sections))]


def _fit(section: Section, tokens: int, count: Count) -> Kept:
    if section.files:
        return _fit_files(section, tokens, count)
    whole = f"## {section.heading}\n\n{section.text}"
    if count(whole) <= tokens:
        return Kept(whole)
    head = f"## {section.heading} (cut: only its beginning)\n\n"
    beginning = beginning_of(section.text, tokens - count(head) - JOINT, count)
    if not beginning:
        return Kept("", f"{section.heading} left out")
    return Kept(head + beginning, f"of {section.heading} only {_share(beginning, section.text)}")


def _fit_files(section: Section, tokens: int, count: Count) -> Kept:
    """Keep whole files only: half a file invites a model to write the other half anew."""
    head = f"## {section.heading}\n\n"
    room = tokens - count(head)
    shown: list[File] = []
    missing: list[str] = []
    for file in section.files:
        size = count(blocks_of([file])) + JOINT
        if size <= room:
            room -= size
            shown.append(file)
        else:
            missing.append(file.path)
    if not missing:
        return Kept(head + blocks_of(shown), "", len(shown))
    lost = f"left out of {section.heading}: {named(missing)}"
    told = f"Not shown here, but there: {named(missing)}"
    while shown and count(told) + JOINT > room:
        gone = shown.pop()
        room += count(blocks_of([gone])) + JOINT
        missing.append(gone.path)
        lost, told = f"left out of {section.heading}: {named(missing)}", f"Not shown here, but there: {named(missing)}"
    if not shown and count(told) + JOINT > room:
        return Kept("", lost)
    return Kept(head + "\n\n".join(text for text in (blocks_of(shown), told) if text), lost, len(shown))


def beginning_of(text: str, tokens: int, count: Count) -> str:
    """Return the longest beginning found of at most so many tokens, to the end of a line if that is near; or ""."""
    if tokens < LEAST:
        return ""
    if count(text) <= tokens:
        return text
    fits, over = 0, len(text)
    for _ in range(HALVINGS):
        middle = (fits + over) // 2
        if count(text[:middle]) <= tokens:
            fits = middle
        else:
            over = middle
    line = text.rfind("\n", fits // 2, fits)
    return text[: line if line > 0 else fits].rstrip()


def middle_cut(text: str, tokens: int, count: Count) -> str:
    """Return a text's beginning and end, of at most so many tokens, with a line between them that says so; or ""."""
    if count(text) <= tokens:
        return text
    mark = "\n\n[… cut here: too long for this model …]\n\n"
    room = tokens - count(mark) - 2 * JOINT
    beginning = beginning_of(text, int(room * HEAD), count)
    end = beginning_of(text[::-1], room - int(room * HEAD), count)[::-1]
    return beginning + mark + end if beginning and end else ""


def named(paths: Sequence[str]) -> str:
    """List paths, the first few by name."""
    more = f" and {len(paths) - MAX_NAMED} more" if len(paths) > MAX_NAMED else ""
    return ", ".join(paths[:MAX_NAMED]) + more


def _share(part: str, whole: str) -> str:
    return f"the first {len(part):,} of {len(whole):,} characters"
