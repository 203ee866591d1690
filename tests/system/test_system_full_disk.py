"""A disk without space: what is refused at the start, what goes on without it, and that it comes back by itself.

Needs the right to mount a small tmpfs, as root in a container mostly has.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.system.clients import Answered, at_once, request_now, run
from tests.system.houses import Build, House, eventually

pytestmark = pytest.mark.process
ALLOWED, SPAN_S = 20, 2
SETTINGS = f'workers = 2\nlimit_llm = "{ALLOWED}/{SPAN_S}s"\nlimit_standard = "off"'
MUCH = "a word " * 4000  # an answer that repeats it is larger than what LMDB has free in its pages
BOOKS_TAKE = 128  # megabytes that the books reserve at the first start
BALLAST = "lost+found"  # a name that a data folder may hold

Mount = Callable[[House, int], None]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Put a small disk under a house's data folder: `mount(house, megabytes)`."""
    mounted: list[Path] = []

    def one(house: House, megabytes: int) -> None:
        house.data.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", house.data], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
        mounted.append(house.data)

    if os.geteuid():
        pytest.skip("mounting a tmpfs needs root")
    yield one
    for path in mounted:
        subprocess.run(["umount", "--lazy", path], check=True)


def fill(house: House) -> None:
    """Take all the space that is left."""
    with (house.data / BALLAST).open("ab", buffering=0) as ballast:
        try:
            while ballast.write(b"x" * 4096):
                pass
        except OSError:
            return


def flood(house: House, name: str, number: int = 25) -> list[Answered]:
    time.sleep(SPAN_S + 0.1)  # so that the window is empty
    return run(at_once(house.port, [{"prompt": f"{name} {at} {MUCH}"} for at in range(number)]))


def parts(house: House) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = request_now(house.port, "/ready").json()["parts"]
    return found


def test_a_disk_without_any_space_is_refused_before_a_port_is_opened(build: Build, mount: Mount) -> None:
    house = build(SETTINGS)
    mount(house, 1)
    fill(house)
    house.launch()
    assert house.process is not None
    assert house.process.wait(20) == 2
    (line,) = (house.folder / "log").read_text().splitlines()
    assert line.startswith("askonce: data_dir = ")
    assert "No space left on device; choose another folder" in line
    assert " answers at " not in house.screen()


@pytest.mark.parametrize("megabytes", [BOOKS_TAKE + 16, 10])
def test_while_the_disk_is_full_answers_go_on_and_afterwards_all_is_as_before(
    build: Build, mount: Mount, megabytes: int
) -> None:
    reserved = megabytes > BOOKS_TAKE
    house = build(SETTINGS)
    mount(house, megabytes)
    house.start(with_prices=True)
    assert house.ask("stored before").cache == "miss"
    warned = [line for line in house.log() if "no disk space could be reserved" in line["event"]]
    assert len(warned) == (not reserved)

    fill(house)
    replies = flood(house, "full")
    admitted = [reply for reply in replies if reply.status == 200]
    assert {reply.status for reply in replies} <= {200, 429}
    assert all(reply.cache == "miss" for reply in admitted)
    # Where the books have their space the window stays exact. Without it each worker falls back to its share, on top
    # of what the books had admitted until then.
    assert len(admitted) == ALLOWED if reserved else ALLOWED <= len(admitted) <= 2 * ALLOWED
    assert not any("stored" in reply.headers["cache-status"] for reply in admitted)
    eventually(lambda: parts(house)["cache"]["status"] == "degraded", "it is said at /ready")
    assert request_now(house.port, "/ready").status == 200
    assert request_now(house.port, "/ready").json()["reasons"]
    time.sleep(SPAN_S)
    assert house.ask("stored before").cache == "hit"
    unbooked = sum(line["event"] == "not_booked" for line in house.log())
    stats = house.stats()
    assert stats["misses"] + unbooked >= len(admitted) + 1
    assert stats["misses"] == len(house.calls()) if reserved else stats["misses"] <= len(house.calls())
    assert len(house.workers()) == 2

    (house.data / BALLAST).unlink()
    first, second = flood(house, "freed", 10), flood(house, "freed", 10)
    assert {reply.cache for reply in first} == {"miss"}
    assert {reply.cache for reply in second} == {"hit"}
    assert sorted(reply.status for reply in flood(house, "freed")) == [200] * ALLOWED + [429] * 5
    eventually(lambda: all(part["status"] == "ok" for _ in range(4) for part in parts(house).values()), "all is well")
    assert not any(line["event"] == "ended unexpectedly" for line in house.log())
