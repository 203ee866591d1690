"""Small records that shared state carries: sealed keys of providers, and the noted end of the audit."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.state.redisserver import RedisServer
from tests.state.statefakes import HandClock
from tests.state.test_lmdb_state import opened
from tests.state.valkeyaccounts import connected, over_server, run

from askonce.domain.handover import NEVER, VendorKeys
from askonce.domain.ledger import Anchor, Anchors
from askonce.state.valkey.anchors import ValkeyAnchors
from askonce.state.valkey.server import Hour
from askonce.state.valkey.vendor_keys import ValkeyVendorKeys


class World(NamedTuple):
    keys: VendorKeys
    anchors: Anchors


def lmdb_world(folder: Path) -> Iterator[World]:
    with opened(folder, HandClock()) as state:
        yield World(state.vendor_keys, state.anchors)


@pytest.fixture(params=["lmdb", "valkey", pytest.param("cluster", marks=pytest.mark.soak)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "lmdb":
        yield from lmdb_world(tmp_path)
        return
    with over_server(request) as server:
        yield World(ValkeyVendorKeys(server, Hour(HandClock())), ValkeyAnchors(server))


def test_the_last_keys_that_were_put_are_read_and_each_has_a_number(world: World) -> None:
    keys = world.keys
    assert (run(keys.stamp()), run(keys.read())) == (NEVER, (NEVER, b""))
    run(keys.put(b"one"))
    first = run(keys.stamp())
    run(keys.put(b""))
    assert run(keys.read()) == (run(keys.stamp()), b"")
    assert run(keys.stamp()) > first > NEVER


def test_the_last_anchor_that_was_noted_is_read(world: World) -> None:
    assert run(world.anchors.read()) is None
    for number in (7, 9):
        run(world.anchors.note(Anchor(number, b"\x00 seal", 5)))
    assert run(world.anchors.read()) == Anchor(9, b"\x00 seal", 5)


def test_keys_outlive_a_clean_reboot(tmp_path: Path) -> None:
    with opened(tmp_path, HandClock()) as state:
        run(state.vendor_keys.put(b"sealed"))
    with opened(tmp_path, HandClock(), boot="another") as state:
        assert run(state.vendor_keys.read())[1] == b"sealed"


def test_after_a_loss_numbers_do_not_come_again(redis: RedisServer) -> None:
    redis.flush()
    with connected(redis) as server:
        keys = ValkeyVendorKeys(server, Hour())
        stamps = []
        for sealed in (b"one", b"two"):
            run(keys.put(sealed))
            stamps.append(run(keys.stamp()))
            redis.flush()
            assert run(keys.stamp()) == NEVER
        assert stamps[0] < stamps[1]
