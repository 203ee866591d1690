"""Fetch weights with a bar on a terminal, and a line per ten per cent elsewhere."""

import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from askonce.localmodel.pull import pull
from askonce.localmodel.weights import Weights

_STEP = 10  # per cent between lines


def pull_with_bar(weights: Weights, models_dir: str) -> Path:
    """Return the path of the verified weights, fetched if they were missing. Raises `PullError`."""
    if not sys.stderr.isatty():
        return pull(weights, Path(models_dir), _Lines())
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(weights.name, total=weights.bytes)
        return pull(
            weights,
            Path(models_dir),
            lambda done, total, what: bar.update(task, completed=done, total=total, description=what),
        )


class _Lines:
    """Print a line whenever another tenth is done, or something else begins."""

    def __init__(self) -> None:
        self._last: tuple[str, int] | None = None

    def __call__(self, done: int, total: int, what: str) -> None:
        step = (what, 100 * done // total // _STEP * _STEP if total else 0)
        if step != self._last:
            self._last = step
            print(f"{what}: {step[1]} % of {total / 1e6:.0f} MB", file=sys.stderr, flush=True)
