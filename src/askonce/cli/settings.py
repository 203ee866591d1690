"""How commands come by the configuration."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from askonce.cli.exits import Misused
from askonce.config.load import Loaded, load
from askonce.config.vendors import VendorVariables
from askonce.providers import catalog

ConfigOption = Annotated[Path | None, typer.Option("--config", help="The askonce.toml to use.")]
SetOption = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Any other setting; repeatable.")]


VENDORS = tuple(
    VendorVariables(vendor.name, vendor.key_variables, vendor.base_variable)
    for vendor in catalog.VENDORS
    if vendor.variable
)


def load_settings(config: Path | None = None, overrides: Mapping[str, str] | None = None) -> Loaded:
    """Load what is in force for this process. Raises `ConfigError`."""
    return load(overrides or {}, os.environ, config, VENDORS)


def overrides(named: Mapping[str, object], free: list[str]) -> dict[str, str]:
    """Gather what the command line said; options that were not given are None. Raises `Misused`."""
    gathered = {}
    for pair in free:
        key, equals, value = pair.partition("=")
        if not equals:
            raise Misused(f"--set {pair}: write it as KEY=VALUE, such as --set cache_ttl=1h.")
        gathered[key.strip()] = value
    return gathered | {key: str(value) for key, value in named.items() if value is not None}
