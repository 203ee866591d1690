"""What is said of a file that the system does not let us use."""

from pathlib import Path

import pytest
from tests.state.statefakes import HandClock

from askonce.domain.errors import ConfigError
from askonce.state.lmdb_state import LmdbState


def test_a_cache_that_cannot_be_mapped_blames_its_size_and_not_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^ASKONCE_CACHE_SIZE: .* set a smaller size"):
        LmdbState(tmp_path, 1 << 60, HandClock(), "0:a").open()
