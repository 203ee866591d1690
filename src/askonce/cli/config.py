"""`askonce config`: what is in force, where it comes from, and what of it cannot work."""

import json
import sys
from collections.abc import Iterable
from typing import Annotated

import msgspec
import typer

from askonce.cli.apps import new_app
from askonce.cli.exits import EXIT_USAGE
from askonce.cli.settings import VENDORS, ConfigOption, SetOption, load_settings, overrides
from askonce.config.reference import Shown, in_force, reference
from askonce.supervisor.preflight import doubts, problems

app = new_app()


@app.command(name="config")
def _config(
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006 - typer's way to say: none
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_reference: Annotated[bool, typer.Option("--reference", help="Print all settings as Markdown.")] = False,
) -> None:
    """Show every setting's value and origin; secrets are masked. Exit code 2 if something of it cannot work."""
    if as_reference:
        print(reference(VENDORS), end="")
        return
    loaded = load_settings(config, overrides({}, set_))
    _show(in_force(loaded.config), as_json)
    for remark in (*loaded.remarks, *doubts(loaded.config)):
        print(f"askonce: {remark}", file=sys.stderr)
    found = [f"askonce: {problem.text}" for problem in problems(loaded.config)]
    if found:
        print("\n".join(found), file=sys.stderr)
        sys.exit(EXIT_USAGE)


def _show(shown: Iterable[Shown], as_json: bool) -> None:
    if as_json:
        print(json.dumps([msgspec.to_builtins(one) for one in shown], ensure_ascii=False, indent=2))
        return
    for one in shown:
        print(f"{one.key:<20} {one.value:<40} {one.origin}")
