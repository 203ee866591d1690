"""What tree-sitter makes of a file: where its grammar stumbles, and whether that is the file's fault.

A grammar of tree-sitter's is no compiler. Most of them read whatever their language allows, so that what they cannot
read is wrong. Some do not, and there an error is only a doubt, unless it is of a kind that no dialect explains:

    SQL, CSS    dialects, news, and leniency by design       wrong are only brackets that do not match
    C, C++      macros are not expanded                      in doubt near one, and in files with `#if`
    HTML        browsers read anything                       wrong are only tags that do not match or end

Grammars are loaded at the first need: each is a library of its own, 0.1 to 9 MB.
"""

import importlib
import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from tree_sitter import Language, Node, Parser, Tree

# What stands in one file beyond these is mostly the consequence of the first ones.
MAX_FINDINGS = 10
MAX_SHOWN_CHARS = 40
# So many lines behind a macro an error may still come from it: `Q_OBJECT`, then `public:`, then a declaration.
MACRO_REACH = 2

_GRAMMARS = {
    "bash": ("tree_sitter_bash", "language"),
    "c": ("tree_sitter_c", "language"),
    "cpp": ("tree_sitter_cpp", "language"),
    "csharp": ("tree_sitter_c_sharp", "language"),
    "css": ("tree_sitter_css", "language"),
    "go": ("tree_sitter_go", "language"),
    "html": ("tree_sitter_html", "language"),
    "java": ("tree_sitter_java", "language"),
    "javascript": ("tree_sitter_javascript", "language"),
    "json": ("tree_sitter_json", "language"),
    "php": ("tree_sitter_php", "language_php"),
    "python": ("tree_sitter_python", "language"),
    "ruby": ("tree_sitter_ruby", "language"),
    "rust": ("tree_sitter_rust", "language"),
    "sql": ("tree_sitter_sql", "language"),
    "toml": ("tree_sitter_toml", "language"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "yaml": ("tree_sitter_yaml", "language"),
}
GRAMMARS = frozenset(_GRAMMARS)
_DIALECTS = ("sql", "css")
_PREPROCESSED = ("c", "cpp")

# Words that are written in capitals are macros by custom; the rest are Qt's, and newer C++ than the grammar.
_MACRO_LIKE = re.compile(rb"\b[A-Z][A-Z0-9_]{2,}\b|\b(?:signals|slots|emit|module|import|consteval)\b|\bthis auto\b")
_CONDITIONAL = re.compile(rb"^[ \t]*#[ \t]*if", re.MULTILINE)
_TAG = re.compile(rb"</?[A-Za-z]")


class Stumble(NamedTuple):
    """Say where a grammar stumbled: line and column from 1, in characters; whether that is surely an error."""

    line: int
    column: int
    message: str
    surely: bool
    rule: str = "syntax"


class Inset(NamedTuple):
    """Hold a piece of another language in HTML, and the line that its first line stands on, counted from 0."""

    parser: str
    source: bytes
    row: int


def tree_of(parser: str, source: bytes) -> Tree:
    """Parse UTF-8. Takes as long as it takes: bounded by the process (`child`)."""
    return _parser(parser).parse(source)


@cache
def _parser(name: str) -> Parser:
    module, function = _GRAMMARS[name]
    return Parser(Language(getattr(importlib.import_module(module), function)()))


def stumbles(parser: str, source: bytes, tree: Tree) -> list[Stumble]:
    """Return where the grammar stumbled, in the file's order, at most `MAX_FINDINGS`."""
    nodes = [node for node in _errors(parser, tree) if not _is_lenient(parser, node)]
    if not nodes and not tree.root_node.has_error:
        return []
    lines = source.split(b"\n")
    brackets = [] if parser == "html" else _unmatched(tree)
    if brackets:  # what is around or behind such a bracket is its consequence
        first = min(bracket.start_byte for bracket, _ in brackets)
        nodes = [node for node in nodes if node.end_byte <= first]
    surely = not _is_preprocessed(parser, source)
    found = [_at(lines, bracket, f"`{bracket.type}` {why}.", surely, "unmatched") for bracket, why in brackets]
    found += [_at(lines, node, _problem(source, node), _is_sure(parser, source, lines, node)) for node in nodes]
    return sorted(set(found))[:MAX_FINDINGS]


def insets(source: bytes, tree: Tree) -> Iterator[Inset]:
    """Return the scripts and styles of an HTML file."""
    for node in _walk(tree.root_node):
        if node.type not in ("script_element", "style_element"):
            continue
        head = source[node.start_byte : node.children[0].end_byte].lower() if node.children else b""
        parser = "css" if node.type == "style_element" else _script(head)
        for part in node.children:
            if part.type == "raw_text" and parser:
                # Blanks before it keep the columns of its first line.
                pad = b" " * part.start_point.column
                yield Inset(parser, pad + source[part.start_byte : part.end_byte], part.start_point.row)


def _script(head: bytes) -> str:
    """Name the parser of a script by its tag; "" for templates and the like."""
    kind = re.search(rb"""\btype\s*=\s*["']?([^"'\s>]*)""", head)
    if kind is None or not kind[1] or kind[1] in (b"module", b"text/javascript", b"application/javascript"):
        return "typescript" if re.search(rb"""\blang\s*=\s*["']?ts\b""", head) else "javascript"
    return {b"text/babel": "javascript", b"text/jsx": "javascript"}.get(kind[1], "")


def _errors(parser: str, tree: Tree) -> Iterator[Node]:
    """Return the innermost nodes that say error, and HTML's end tags without a beginning."""
    if parser == "html":
        yield from (node for node in _walk(tree.root_node) if node.type == "erroneous_end_tag")
    waiting = [tree.root_node]
    while waiting:
        node = waiting.pop()
        inner = [child for child in node.children if child.has_error or child.is_missing]
        if node.is_missing or (node.is_error and not inner):
            yield node
        waiting.extend(inner)


def _at(lines: list[bytes], node: Node, message: str, surely: bool, rule: str = "syntax") -> Stumble:
    """Count the column in characters instead of bytes."""
    row, column = node.start_point
    line = lines[row] if row < len(lines) else b""
    return Stumble(row + 1, len(line[:column].decode("utf-8", "replace")) + 1, message, surely, rule)


def _problem(source: bytes, node: Node) -> str:
    if node.is_missing:
        return f"{node.type.replace('_', ' ').capitalize() if node.is_named else f'`{node.type}`'} is missing here."
    shown = _shown(source[node.start_byte : node.end_byte])
    return f"`{shown}` cannot stand here." if shown else "The text cannot be read from here on."


def _is_sure(parser: str, source: bytes, lines: list[bytes], node: Node) -> bool:
    """Say whether no dialect, macro or leniency explains an error."""
    if parser in _DIALECTS:
        return False
    if parser == "html":
        return bool(_TAG.match(source, node.start_byte)) and not node.is_missing
    if parser in _PREPROCESSED:
        row = node.start_point.row
        near = b"\n".join(lines[max(0, row - MACRO_REACH) : row + 1])
        return not _is_preprocessed(parser, source) and not _MACRO_LIKE.search(near)
    return True


def _is_preprocessed(parser: str, source: bytes) -> bool:
    return parser in _PREPROCESSED and bool(_CONDITIONAL.search(source))


def _is_lenient(parser: str, node: Node) -> bool:
    """Say whether every browser reads what the grammar of HTML does not: `&` in a text."""
    return parser == "html" and (node.text or b"").startswith(b"&")


def _unmatched(tree: Tree) -> list[tuple[Node, str]]:
    """Return the brackets without their match, as the grammar's own tokens say (none is in a string)."""
    open_ones: list[Node] = []
    wrong: list[tuple[Node, str]] = []
    for node in _walk(tree.root_node):
        if node.child_count or node.is_missing or node.type not in _BRACKETS or _ends_pattern(node):
            continue
        if node.type in _OPENING:
            open_ones.append(node)
        elif any(_OPENING[other.type] == node.type for other in reversed(open_ones)):
            while _OPENING[open_ones[-1].type] != node.type:
                wrong.append((open_ones.pop(), "is never closed"))
            open_ones.pop()
        else:
            wrong.append((node, "closes nothing"))
    return wrong + [(node, "is never closed") for node in open_ones]


def _ends_pattern(node: Node) -> bool:
    """Say whether it is the bracket behind a pattern of a shell's `case`, which none opens."""
    return node.type == ")" and node.parent is not None and node.parent.type == "case_item"


# Some grammars have tokens of their own that open what an ordinary bracket closes.
_OPENING = {
    "(": ")",
    "[": "]",
    "{": "}",
    "${": "}",
    "#{": "}",
    "$(": ")",
    "<(": ")",
    ">(": ")",
    "#[": "]",
    "{|": "|}",
    "((": "))",
    "[[": "]]",
}
_BRACKETS = frozenset(_OPENING) | frozenset(_OPENING.values())


def _walk(root: Node) -> Iterator[Node]:
    """Return all nodes in order; without recursion, since files may be nested deeply."""
    cursor = root.walk()
    while True:
        if cursor.node is not None:
            yield cursor.node
        if cursor.goto_first_child() or cursor.goto_next_sibling():
            continue
        while cursor.goto_parent():
            if cursor.goto_next_sibling():
                break
        else:
            return


def _shown(source: bytes) -> str:
    text = source[: 4 * MAX_SHOWN_CHARS].decode("utf-8", "replace").lstrip().partition("\n")[0].rstrip()
    shown = "".join(char if char.isprintable() else " " for char in text[:MAX_SHOWN_CHARS])
    return shown.replace("`", "'") + ("…" if len(text) > MAX_SHOWN_CHARS else "")
