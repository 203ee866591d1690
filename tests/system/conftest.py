"""Houses for this room's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system.houses import ECHO, Build, House


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
