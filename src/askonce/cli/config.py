"""`askonce config`: what is in force, and where it comes from."""

import json
from typing import Annotated

import msgspec
import typer

from askonce.cli.apps import new_app
from askonce.cli.settings import VENDORS, ConfigOption, SetOption, load_settings, overrides
from askonce.config.reference import in_force, reference

app = new_app()


@app.command(name="config")
def _config(
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006 - typer's way to say: none
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_reference: Annotated[bool, typer.Option("--reference", help="Print all settings as Markdown.")] = False,
) -> None:
    """Show every setting's value and origin; secrets are masked."""
    if as_reference:
        print(reference(VENDORS), end="")
        return
    shown = in_force(load_settings(config, overrides({}, set_)))
    if as_json:
        print(json.dumps([msgspec.to_builtins(one) for one in shown], ensure_ascii=False, indent=2))
        return
    for one in shown:
        print(f"{one.key:<20} {one.value:<40} {one.origin}")
