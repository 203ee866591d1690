"""Tables that are migrated together. Apart from what migrates them, which only the worker needs to load."""

from pathlib import Path
from typing import NamedTuple

from sqlalchemy import MetaData


class Family(NamedTuple):
    """Name tables that are migrated together: where their steps are, and which table says how far that has come."""

    folder: Path
    versions: str
    tables: MetaData
