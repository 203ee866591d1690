"""What goes to the process that parses, and what comes back. Whoever starts it loads no parser by importing this."""

from msgspec import Struct

from askonce.workflows.quality.report import Checked, Finding


class Sheet(Struct, frozen=True, array_like=True):
    """Hold a file that is to be parsed."""

    path: str
    parser: str
    content: str


class Parsed(Struct, frozen=True, array_like=True):
    """Hold how it is, and what was found."""

    checked: Checked
    findings: tuple[Finding, ...]
