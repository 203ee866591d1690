"""The errand that compiles the price table: `python -m askonce.supervisor.prices`, told by one JSON line on stdin.

Apart from everybody else because its imports cost 60 MB and most of a second. Gateways pick the file up when it
appears.
"""

import os
import sys
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from askonce.config.settings import Config
from askonce.domain.errors import ConfigError
from askonce.providers.catalog import VENDORS
from askonce.providers.price_data import Override, compile_table
from askonce.providers.prices import encode_table
from askonce.supervisor.assignment import EXIT_FAILED, EXIT_HOPELESS
from askonce.supervisor.lifeline import die_with_parent
from askonce.supervisor.logging_out import log_as
from askonce.telemetry import logs


class Told(Struct, frozen=True):
    """Hold the errand: where the table goes, and the stamp that says what it was made of."""

    config: Config
    path: str
    stamp_path: str
    stamp: str


def main() -> int:
    """Compile, and write the table, then its stamp; return the exit code."""
    die_with_parent()
    told = msgspec.json.decode(sys.stdin.buffer.readline(), type=Told)
    log_as(told.config)
    overrides = {
        provider.name: {
            model: msgspec.convert(price, Override, from_attributes=True) for model, price in prices.items()
        }
        for provider in told.config.providers
        if (prices := provider.prices)
    }
    try:
        table = compile_table(VENDORS, overrides, int(time.time()))
    except ConfigError as error:
        logs.get("askonce.prices").error(str(error))
        return EXIT_HOPELESS
    try:
        _replace(Path(told.path), encode_table(table))
        _replace(Path(told.stamp_path), told.stamp.encode())
    except OSError as error:
        logs.get("askonce.prices").error("the price table cannot be written", path=told.path, reason=error.strerror)
        return EXIT_FAILED
    return 0


def _replace(path: Path, data: bytes) -> None:
    """Write whole or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_bytes(data)
    os.replace(fresh, path)


if __name__ == "__main__":
    sys.exit(main())
