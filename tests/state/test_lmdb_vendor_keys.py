"""Sealed keys of providers in shared state: the last that were put, told by a number that grows."""

from pathlib import Path

from tests.state.statefakes import HandClock
from tests.state.test_lmdb_state import opened

from askonce.state.vendor_keys import NEVER


def test_the_last_that_were_put_are_read_and_each_has_a_number(tmp_path: Path) -> None:
    with opened(tmp_path, HandClock()) as state:
        keys = state.vendor_keys
        assert (keys.stamp(), keys.read()) == (NEVER, (NEVER, b""))
        keys.put(b"one")
        first = keys.stamp()
        keys.put(b"")
        assert keys.read() == (keys.stamp(), b"")
        assert keys.stamp() > first > NEVER


def test_they_outlive_a_clean_reboot(tmp_path: Path) -> None:
    with opened(tmp_path, HandClock()) as state:
        state.vendor_keys.put(b"sealed")
    with opened(tmp_path, HandClock(), boot="another") as state:
        assert state.vendor_keys.read()[1] == b"sealed"
