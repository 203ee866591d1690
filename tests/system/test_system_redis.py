"""What callers see of a Redis that is killed, frozen, slow, full, emptied or failed over: answers, and honest sums.

One server with two workers serves all scenes; each leaves it as well as it found it.
"""

import time
from collections.abc import Iterator
from itertools import count

import pytest
from tests.state.redisserver import RedisServer, free_port, running
from tests.system.clients import Answered, request_now
from tests.system.houses import COST_NANO, ECHO, House, eventually

pytestmark = pytest.mark.process
SETTINGS = 'workers = 2\nlimit_llm = "off"\nlimit_standard = "off"\nstate_timeout = "200ms"\n'
SOON_S = 2.0  # far more than a deadline, far less than callers wait
_numbers = count()


class Scene:
    """Hold the server and its Redis, and what was asked of it so far."""

    def __init__(self, house: House, redis: RedisServer) -> None:
        self.house = house
        self.redis = redis

    def fresh(self) -> str:
        """Return a question that nobody asked before."""
        return f"question {next(_numbers)}"

    def ask(self, prompt: str) -> Answered:
        """Ask; whatever Redis does, there is an answer, and soon."""
        began = time.monotonic()
        reply = self.house.ask(prompt)
        assert time.monotonic() - began < SOON_S
        assert reply.status == 200, reply
        assert reply.json()["code"] or reply.json()["metadata"]
        return reply

    def reasons(self) -> str:
        return " ".join(request_now(self.house.port, "/ready").json().get("reasons", []))

    def is_well(self) -> bool:
        """Say whether no worker misses anything of Redis, several of them asked."""
        return all("books" not in self.reasons() and "late" not in self.reasons() for _ in range(8))

    def await_well(self) -> None:
        eventually(self.is_well, "everything is well again", 15)

    def misses(self) -> int:
        misses: int = self.house.stats()["misses"]
        return misses

    def await_misses(self, number: int) -> None:
        eventually(lambda: self.misses() == number, f"{number} misses are booked, not {self.misses()}", 15)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with running(tmp_path_factory.mktemp("redis"), "--appendonly", "yes", "--appendfsync", "always") as redis:
        house = House(tmp_path_factory.mktemp("house"), SETTINGS, ECHO, {"STATE_URL": redis.url})
        try:
            yield Scene(house.start(with_prices=True), redis)
        finally:
            house.end()


def test_killed_and_started_again(scene: Scene) -> None:
    kept, before = scene.fresh(), scene.misses()
    assert scene.ask(kept).cache == "miss"
    assert scene.ask(kept).cache == "hit"
    scene.redis.kill()
    for _ in range(5):
        assert scene.ask(scene.fresh()).cache == "miss"
    assert scene.ask(kept).cache == "miss", "nothing is found while it is away"
    eventually(lambda: "books" in scene.reasons(), "/ready tells")
    assert "Shared state is away" in request_now(scene.house.port, "/llm/cache/stats").text
    scene.redis.start()
    scene.await_well()
    assert scene.ask(kept).cache == "hit", "what was appended to its file is there again"
    scene.await_misses(before + 7)


def test_frozen_and_thawed(scene: Scene) -> None:
    before, spent = scene.misses(), scene.house.stats()["spentNano"]
    scene.redis.freeze()
    try:
        for _ in range(10):
            scene.ask(scene.fresh())
    finally:
        scene.redis.thaw()
    scene.await_well()
    scene.await_misses(before + 10)
    assert scene.house.stats()["spentNano"] == spent + 10 * COST_NANO


def test_slow(scene: Scene) -> None:
    before = scene.misses()
    scene.redis.ask("CLIENT", "PAUSE", "1500", "ALL")
    for _ in range(4):
        scene.ask(scene.fresh())
    scene.await_well()
    scene.await_misses(before + 4)
    known = scene.fresh()
    scene.ask(known)
    assert scene.ask(known).cache == "hit"


def test_out_of_memory(scene: Scene) -> None:
    known, before = scene.fresh(), scene.misses()
    scene.ask(known)
    scene.redis.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    scene.redis.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        for _ in range(3):
            scene.ask(scene.fresh())
        eventually(lambda: "no memory left" in scene.reasons(), "/ready tells")
    finally:
        scene.redis.ask("CONFIG", "SET", "maxmemory", "0")
    scene.await_well()
    scene.await_misses(before + 4)
    assert scene.ask(known).cache == "hit"


def test_emptied(scene: Scene) -> None:
    known = scene.fresh()
    scene.ask(known)
    scene.redis.flush()
    assert scene.ask(known).cache == "miss", "an answer that is gone is asked for again"
    assert scene.ask(known).cache == "hit"
    eventually(lambda: scene.house.stats()["since"] > 0, "the sums say since when they are", 5)
    assert scene.misses() == 1, "sums begin anew with it"


def test_failed_over_by_sentinel(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("failover")
    with running(folder / "a") as first:
        replica = ("--replicaof", "127.0.0.1", str(first.port))
        with running(folder / "b", *replica, "--repl-diskless-sync-delay", "0") as second:
            eventually(lambda: b"master_link_status:up" in second.ask("INFO", "replication"), "the replica follows")
            port = free_port()
            (folder / "s").mkdir()
            settings = folder / "s" / "sentinel.conf"
            settings.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {folder / 's'}\n"
                f"sentinel monitor main 127.0.0.1 {first.port} 1\n"
                "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
            )
            with running(folder / "s", port=port, settings=settings):
                house = House(
                    tmp_path_factory.mktemp("house"),
                    SETTINGS,
                    ECHO,
                    {"STATE_URL": f"redis+sentinel://127.0.0.1:{port}/main"},
                )
                try:
                    scene = Scene(house.start(with_prices=True), first)
                    known = scene.fresh()
                    scene.ask(known)
                    assert scene.ask(known).cache == "hit"
                    eventually(lambda: b"slave_repl_offset" in second.ask("INFO", "replication"), "replicated")
                    first.kill()
                    for _ in range(3):
                        scene.ask(scene.fresh())
                    eventually(lambda: scene.ask(known).cache == "hit", "the new master has it", 20)
                    scene.await_well()
                    scene.await_misses(len(house.calls()))
                finally:
                    house.end()
