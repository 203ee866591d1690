"""`askonce doctor`: look for what is wrong, one line per thing; exit code 1 if something is broken.

It changes nothing, opens nothing for long, and asks no vendor for anything that is paid.
"""

import sys
from typing import Annotated

import typer

from askonce.cli.apps import new_app
from askonce.cli.checks import Finding, examine
from askonce.cli.exits import EXIT_FAILED
from askonce.cli.settings import ConfigOption, SetOption

app = new_app()
_SIGNS = {"fine": "✓", "remark": "•", "broken": "✗"}


@app.command(name="doctor")
def _doctor(
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006 - typer's way to say: none
    offline: Annotated[bool, typer.Option("--offline", help="Do not connect to providers.")] = False,
) -> None:
    """Check settings, folder, port, providers and the embedded model."""
    broken = False
    for finding in examine(config, set_, offline):
        print(line(finding), flush=True)
        broken = broken or finding.state == "broken"
    sys.exit(EXIT_FAILED if broken else 0)


def line(finding: Finding) -> str:
    """Write one finding for people."""
    return f"{_SIGNS[finding.state]} {finding.subject:<16} {finding.text}"
