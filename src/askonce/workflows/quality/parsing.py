"""One file, by its parser: what is wrong with it, and how sure that is. Runs in a process of its own (`child`)."""

import re

from askonce.workflows.quality.report import Checked, Finding, State
from askonce.workflows.quality.sheets import Parsed, Sheet
from askonce.workflows.quality.strict import READERS
from askonce.workflows.quality.trees import MAX_FINDINGS, Stumble, insets, stumbles, tree_of

TEMPLATE = "It seems to be a template: what is made of it could be parsed, it cannot."
DOUBT = "Its parser does not know all dialects, macros and leniencies: what it stumbled over may be right."

# What templates have where their language has nothing of the kind.
_TEMPLATES = {
    "html": re.compile(r"\{%|\{\{[#/~>]|<%"),
    "sql": re.compile(r"\{%|\{\{"),
    "yaml": re.compile(r"\{%|^\s*-?\s*\{\{|:\s+\{\{", re.MULTILINE),
    "json": re.compile(r"\{%|\{\{"),
    "toml": re.compile(r"\{%|\{\{"),
    "css": re.compile(r"\{%|\{\{"),
}


def parse(sheet: Sheet) -> Parsed:
    """Parse a file. Takes as long as it takes, and may take the process with it: see `child`."""
    by, found = _read(sheet)
    template = _TEMPLATES.get(sheet.parser)
    if found and template is not None and template.search(sheet.content):
        return Parsed(Checked(sheet.path, sheet.parser, "unchecked", by, TEMPLATE), ())
    state, reason = _state(found)
    findings = tuple(_finding(sheet.path, stumble) for stumble in found[:MAX_FINDINGS])
    return Parsed(Checked(sheet.path, sheet.parser, state, by, reason), findings)


def _read(sheet: Sheet) -> tuple[str, list[Stumble]]:
    if sheet.parser in READERS:
        by, reader = READERS[sheet.parser]
        return by, reader(sheet.content)
    source = sheet.content.encode("utf-8", "replace")
    found = _stumbles(sheet.parser, source)
    if found and sheet.parser == "c" and sheet.path.endswith(".h"):  # which may be either's
        found = min(found, _stumbles("cpp", source), key=len)
    return "tree-sitter", found


def _stumbles(parser: str, source: bytes) -> list[Stumble]:
    tree = tree_of(parser, source)
    found = stumbles(parser, source, tree)
    if parser == "html":
        for inset in insets(source, tree):
            inner = tree_of(inset.parser, inset.source)
            found += [
                stumble._replace(line=stumble.line + inset.row)
                for stumble in stumbles(inset.parser, inset.source, inner)
            ]
    return sorted(found)


def _state(found: list[Stumble]) -> tuple[State, str]:
    if not found:
        return "parsed", ""
    if any(stumble.surely for stumble in found):
        return "broken", ""
    return "doubtful", DOUBT


def _finding(path: str, stumble: Stumble) -> Finding:
    line, column, message, surely, rule = stumble
    return Finding(path, line, column, rule, "error" if surely else "warning", message)
