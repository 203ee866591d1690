"""Files of the data folder that several rooms know."""

from pathlib import Path

RUN_FOLDER = "run"
STATUS_NAME = "localmodel.json"
PRICES_NAME = "prices.json"
WORKER_NAME = "worker.json"


def status_path(data_dir: str) -> Path:
    """Return where the embedded model's process tells how it is."""
    return Path(data_dir) / RUN_FOLDER / STATUS_NAME


def prices_path(data_dir: str) -> Path:
    """Return where the compiled price table lies."""
    return Path(data_dir) / RUN_FOLDER / PRICES_NAME


def worker_path(data_dir: str) -> Path:
    """Return where the worker tells how it is."""
    return Path(data_dir) / RUN_FOLDER / WORKER_NAME
