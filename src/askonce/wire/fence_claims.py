"""Where a block's path may stand: in the info string, on the line before the fence, in the block's first comment.

Each reader returns a claim, which is not a path yet (`fence_paths.vet`). White space is blank and tab only: other
control characters are part of a claim, and the reason why it is refused.
"""

import re

from askonce.wire.fence_languages import LANGUAGES, extension, language_of
from askonce.wire.fence_paths import is_path, unwrapped

# A longer line is a paragraph or data, not a label; also what bounds the work on one line.
MAX_LABEL_CHARS = 400
# Room for options beside the longest path.
MAX_INFO_CHARS = 1000
MAX_LANGUAGE_CHARS = 40
BLANKS = " \t"

# --- the info string ---

_KEYED = re.compile(
    r"(?:^|[ \t,;{])(path|file|file[ _-]?name|file[ _-]?path|title|name|source|src|label)[ \t]*[=:][ \t]*"
    r"(?:\"([^\"]*)\"|'([^']*)'|([^ \t\"',}]+))",
    re.IGNORECASE,
)
_SURE_KEYS = ("path", "file")  # what follows a key that begins so is meant as a path, whatever it looks like
_SEPARATORS = frozenset({"#", "//", "--", "<!--", "/*", ";", "%", "|", "-", "–", "—", ":", "->", "→", "in"})
_FILE_WORDS = frozenset({"file", "path", "filename", "filepath", "save", "create", "write"})
_CITED = re.compile(r"\d+:\d+:")  # `12:15:src/a.ts` quotes lines of a file that exists
_OPTIONS = re.compile(r"(?<=[\])\w])\{[\d, \t-]*\}$")  # `[a.ts]{2,4}`, `js{1,3}`
_CLASSES = re.compile(r" \.[\w-]+(?= |$)")  # `{.python .numberLines}`
_TAG_END = re.compile(r"[,{\[(=:;|]")
_MEDIA_TYPE = re.compile(r"(?:application|audio|font|image|message|multipart|text|video)/[\w.+-]+", re.ASCII)


def read_info(info: str) -> tuple[str, str | None]:
    """Split an info string into the language (lower case, "" if untagged) and a claimed path, or None.

    `python src/a.py`, `python:src/a.py`, `src/a.py`, `python path="src/a.py"`, `js [a.js]`, `{.python file=a.py}`,
    `python # src/a.py`, `save a.py`. Options such as `{1,3}`, `no_run` or `hl_lines="2"` are no paths.
    """
    if len(info) > MAX_INFO_CHARS:
        return _language(info[:MAX_INFO_CHARS].partition(" ")[0]), None
    info = info.replace("\t", " ").strip(BLANKS)
    if info.startswith("{") and info.endswith("}"):
        info = _CLASSES.sub("", info[1:-1].strip(BLANKS).removeprefix("."))
    if _CITED.match(info):
        return "", None
    for found in _KEYED.finditer(info):
        value = next(group for group in found.groups()[1:] if group is not None)
        if found[1].lower().startswith(_SURE_KEYS) or (" " not in value and is_path(value, among_words=True)):
            return _language(info[: found.start()].partition(" ")[0]), unwrapped(value)
    first, _, rest = info.partition(" ")
    return _by_place(first, rest)


def _by_place(first: str, rest: str) -> tuple[str, str | None]:
    """Read an info string whose path has no key: behind a colon, alone, or as the second word."""
    tag, _, behind = first.partition(":")
    if behind and not behind.startswith("//") and (len(tag) > 1 or language_of(behind) == tag.lower()):
        return "" if tag.lower() in _FILE_WORDS else _language(tag), _claimed(behind)
    if _MEDIA_TYPE.fullmatch(first) and extension(first) not in LANGUAGES:
        return _language(first.rpartition("/")[2]), None
    # `makefile` is a tag, `Makefile` a name.
    alone = _claimed(first)
    if alone and not (alone.isalpha() and alone.islower()):
        return "", alone
    words = rest.split(" ")
    while words and (not words[0] or words[0].lower() in _SEPARATORS):
        words.pop(0)
    language = "" if first.lower().rstrip(":") in _FILE_WORDS else _language(first)
    return language, _claimed(words[0]) if words else None


def _claimed(word: str) -> str | None:
    word = unwrapped(_OPTIONS.sub("", word))
    return word if is_path(word, among_words=False) else None


def _language(tag: str) -> str:
    """Reduce a tag to the language: `rust,ignore`, `js{1,3}` and `{.python}` say more than that."""
    tag = _TAG_END.split(tag.lstrip("{."), maxsplit=1)[0].rstrip("}").lower()
    return tag if len(tag) <= MAX_LANGUAGE_CHARS and tag.isprintable() else ""


# --- the line before the fence ---

_HTML_TAGS = re.compile(r"</?(?:summary|details|b|strong|code|em|i|p|h[1-6])>", re.IGNORECASE)
_LEAD = re.compile(r"(?:(?:>|#{1,6}[ \t]|[-+•*][ \t]|\d{1,3}[.)][ \t]|<!--|/\*+|//+|={2,}>?|-{2,})[ \t]*)+")
_TRAIL = re.compile(r"[ \t]+#+$|[ \t]*(?:-->|\*/|<?={2,}|-{2,})$")
# Emoji, arrows and the like; not what paths and their dress begin with, and no control characters.
_DECORATION = re.compile(r"^[^\w./\\~@`\[({$'\"<*\x00-\x1f\x7f]+")
_KEY = re.compile(
    r"(?:(?:new|updated|modified|complete|full)[ ])?"
    r"(?:(?:file[ ]?(?:name|path)?|path|step|source|module)[ ]?(?:[#№]?\d{1,3})?[ ]?(?:[:=.–—-][ ]*|(?<=[ ])))",
    re.IGNORECASE,
)
# What may follow a path that is a label: nothing, or a remark.
_REMARK = re.compile(r"$|[-–—:(|→,\[]|//|#")
_HEADING = re.compile(r"#{1,6}[ \t]|\*\*[^*]+\*\*:?$")
# What a sentence says right before the path if the block is that file. A path that is mentioned otherwise ("the method
# in `a.py`") mostly stands above a part of it, which must not become the file.
_ANNOUNCED = re.compile(
    r"(?:\b(?:named|called)|\b(?:contents?|code|version|source)(?: code)? (?:of|for)(?: the)?(?: file)?"
    r"|\b(?:create|write|make|save (?:this|it|the)?(?: (?:code|file|script|following))*(?: (?:as|to|in|into))?)"
    r"(?: (?:a|an|the|your|new|main|file|script|module))*"
    r"|\bhere(?:'s|’s| is)(?: (?:a|an|the|your|complete|full|final|whole|entire|updated|revised|new|file))*)$",
    re.IGNORECASE,
)
_ONLY_A_PART = re.compile(
    r"\b(?:run|running|execute|usage|example|snippet|how to|append|add|import|install|delete|remove|output|update|"
    r"modify|change|fix|in)\b",
    re.IGNORECASE,
)


def is_heading(line: str) -> bool:
    """Say whether a line is a Markdown heading, or bold from end to end."""
    return len(line) <= MAX_LABEL_CHARS and bool(_HEADING.match(line.strip(BLANKS)))


def read_label(line: str) -> str | None:
    """Return the path that a line before a fence claims for the block, or None.

    Either the line is the path, however dressed: `**src/a.py**`, `` `src/a.py`: ``, `### 2. src/a.py (new)`,
    `File: src/a.py`, `<summary>src/a.py</summary>`, `==> src/a.py <==`. Or it is a heading with one path in it, or a
    sentence that ends with a colon and says that a file follows: ``Create a file named `src/a.py`:``.
    """
    if not line or len(line) > MAX_LABEL_CHARS or "/**" in line:
        return None
    line = _HTML_TAGS.sub("", line).strip(BLANKS)
    text = _TRAIL.sub("", _LEAD.sub("", line, count=1) if _LEAD.match(line) else line)
    text = unwrapped(_DECORATION.sub("", text).replace("**", "").strip(BLANKS))
    return _told(text, _KEY) or _in_sentence(text, heading=is_heading(line))


def _told(text: str, key: re.Pattern[str]) -> str | None:
    """Read a text that is a path, perhaps behind a key such as `File:`, perhaps before a remark."""
    found = key.match(text)
    token, _, rest = (text[found.end() :] if found else text).strip(BLANKS).partition(" ")
    bare = unwrapped(_undotted(token))
    bare = _undotted(bare)
    remarked = token.endswith(":") or bool(_REMARK.match(rest.strip(BLANKS)))
    return bare if bare and remarked and is_path(bare, among_words=True) else None


def _undotted(token: str) -> str:
    """Drop the punctuation that ends a label."""
    return token.rstrip(":,;") if len(token) > 2 else token


def _in_sentence(text: str, *, heading: bool) -> str | None:
    """Read a heading or a sentence that announces exactly one file."""
    words = [_undotted(unwrapped(_undotted(word))) for word in text.replace("：", ":").split(" ")]
    places = [at for at, word in enumerate(words) if len(word) > 2 and is_path(word, among_words=True)]
    if not places or any(words[at] != words[places[0]] for at in places):
        return None
    announced = text.endswith((":", "：")) and _ANNOUNCED.search(" ".join(words[: places[0]]))
    if announced or (heading and not _ONLY_A_PART.search(text)):
        return words[places[0]]
    return None


# --- the first comment ---

_COMMENT = re.compile(
    r"[ \t]*(?:#+(?!!)|//+!?|--+|;+|%+|REM[ ]|[ ]\*(?!/)|/\*+|<!--+|\(\*+|\{/\*+|\{#|\{\{!--|@\*|\"\"\"|''')"
    r"[ \t]*(.*)",
    re.IGNORECASE,
)
_COMMENT_END = re.compile(r"[ \t]*(?:\*+/\}?|--+>|\*+\)|#\}|--\}\}|\"\"\"|'''|\*@)[ \t]*$")
_OPENER_ALONE = re.compile(r"[ \t]*(?:/\*+|<!--+|\(\*+|\{/\*+|\"\"\"|''')[ \t]*$")
_INSIDE = re.compile(r"[ \t]*\*?[ \t]*")
_COMMENT_KEY = re.compile(
    r"[@\\]?(?:file[ _-]?(?:name|path)?|path|location|source|module)(?:[ ]?[:=][ ]*|[ ]+)", re.IGNORECASE
)
# What may stand before the first comment: blank lines, rulers, and what a format wants first.
_PREAMBLE = re.compile(
    r"[ \t]*(?:[-#/*;%=~ \t]*$|#!|#.*coding[:=]|<\?php|<\?xml|<!doctype|@charset|"
    r"['\"]use (?:client|server|strict)['\"])",
    re.IGNORECASE,
)
_PREAMBLE_LINES = 3


def read_comment(lines: list[str]) -> tuple[str, int] | None:
    """Return the path that a block's first comment claims and the number of its line, or None.

    Only a block's beginning counts: its first line, or the first behind a shebang, a doctype, `<?php` and the like.
    """
    inside = False
    for number, line in enumerate(lines[: _PREAMBLE_LINES + 1]):
        if len(line) > MAX_LABEL_CHARS:
            return None
        if _OPENER_ALONE.match(line) and not inside:
            inside = True
        elif inside or not _PREAMBLE.match(line):
            comment = None if inside else _COMMENT.match(line)
            if not inside and not comment:
                return None
            text = comment[1] if comment else _INSIDE.sub("", line, count=1)
            claim = _told(_COMMENT_END.sub("", text), _COMMENT_KEY)
            return (claim, number) if claim else None
    return None
