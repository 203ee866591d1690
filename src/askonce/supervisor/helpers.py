"""The supervisor's other children: the embedded model, and the errand that compiles prices."""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec

from askonce.config.paths import PRICES_NAME, STATUS_NAME
from askonce.config.settings import Config
from askonce.localmodel.status import give_up
from askonce.providers.catalog import wants_local_model
from askonce.providers.prices import LAYOUT
from askonce.supervisor.children import Child
from askonce.supervisor.folder import DataFolder
from askonce.supervisor.posts import Errand, Post

_STAMP_NAME = "prices.stamp"
_MAX_FAILED_MODELS = 5  # its start costs gigabytes of reading
_MAX_FAILED_ERRANDS = 3  # without new prices the world goes on


def local_model_post(config: Config, folder: DataFolder, command: Sequence[str]) -> Post | None:
    """Make the embedded model's place; None if it is not to run. An earlier run's last word is removed."""
    status = folder.run / STATUS_NAME
    status.unlink(missing_ok=True)
    if not wants_local_model(config.local_model, (provider.name for provider in config.providers)):
        return None
    told = {"models_dir": config.models_dir, "status_path": str(status), "model": config.local_model}
    line = msgspec.json.encode(told) + b"\n"
    return _LocalModelPost(status, command, line)


class _LocalModelPost(Post):
    """Keep the embedded model running, and tell those who wait for it when it is given up."""

    def __init__(self, status: Path, command: Sequence[str], line: bytes) -> None:
        super().__init__("local model", lambda: Child(command, line), _MAX_FAILED_MODELS)
        self._status = status

    def _bury(self, child: Child, code: int) -> None:
        super()._bury(child, code)
        if self.given_up:
            give_up(self._status, _reason(self._status, self.given_up))


def _reason(status: Path, ending: str) -> str:
    """Prefer the process's own last words over how it ended."""
    try:
        detail = msgspec.json.decode(status.read_bytes(), type=dict[str, object]).get("detail")
    except (OSError, msgspec.DecodeError):
        detail = ""
    return f"{detail} ({ending})" if detail else f"The embedded model was {ending}."


def price_errand(config: Config, folder: DataFolder, command: Sequence[str]) -> Errand | None:
    """Make the errand that compiles the price table; None if the one that is there was made of the same."""
    table, stamp_file = folder.run / PRICES_NAME, folder.run / _STAMP_NAME
    stamp = _stamp(config)
    if table.is_file() and stamp_file.is_file() and stamp_file.read_text() == stamp:
        return None
    stamp_file.unlink(missing_ok=True)
    told = {"config": msgspec.to_builtins(config), "path": str(table), "stamp_path": str(stamp_file), "stamp": stamp}
    line = msgspec.json.encode(told) + b"\n"
    return Errand("prices", lambda: Child(command, line), _MAX_FAILED_ERRANDS)


def _stamp(config: Config) -> str:
    """Name what the table is made of: our version, its layout, the price data's version, and the owner's overrides."""
    overrides = {provider.name: provider.prices for provider in config.providers}
    made_of = [version("askonce"), LAYOUT, version("genai-prices"), msgspec.to_builtins(overrides)]
    return hashlib.sha256(msgspec.json.encode(made_of, order="deterministic")).hexdigest()
