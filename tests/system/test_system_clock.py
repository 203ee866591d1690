"""The machine's wall clock is set, forwards and back, under a running server: limits stay exact, answers go on.

By libfaketime, which tells every process of the server another time of day; what has passed since the boot it leaves.
"""

import glob
import time
from pathlib import Path

import pytest
from tests.system.clients import Answered, at_once, run
from tests.system.houses import Build, House, eventually

pytestmark = pytest.mark.process
LIBRARY = "/usr/lib/*/faketime/libfaketime.so.1"
ALLOWED, SPAN_S, DAY_S = 20, 3, 86_400


def flood(house: House, name: str) -> tuple[int, int]:
    replies: list[Answered] = run(at_once(house.port, [{"prompt": f"{name} {at}"} for at in range(25)]))
    statuses = [reply.status for reply in replies]
    return statuses.count(200), statuses.count(429)


def test_limits_stay_exact_and_answers_go_on_when_the_clock_is_set(build: Build, tmp_path: Path) -> None:
    found = glob.glob(LIBRARY)
    assert found, "libfaketime is missing: apt-get install libfaketime"
    told = tmp_path / "clock"
    told.write_text("+0")
    env = {
        "LD_PRELOAD": found[0],
        "FAKETIME_TIMESTAMP_FILE": str(told),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    house = build(f'limit_llm = "{ALLOWED}/{SPAN_S}s"\nledger_worker = "off"', env=env).start()
    date = house.ask("what time is it").headers["date"]
    time.sleep(SPAN_S + 0.1)
    for number, step_s in enumerate((DAY_S, -DAY_S)):
        began = time.monotonic()
        first = flood(house, f"before {number}")
        told.write_text(f"{step_s:+d}")
        second = flood(house, f"after {number}")
        assert time.monotonic() - began < SPAN_S, "this machine is too slow for this test"
        assert (first, second) == ((ALLOWED, 5), (0, 25)), "the step lets nobody in, and nobody in twice"
        time.sleep(SPAN_S + 0.1)
        assert house.ask(f"and now {number}").status == 200, "the window moved on by the time that passed"
        eventually(lambda: house.ask("what time is it").headers["date"][:16] != date[:16], "it is told another day", 5)
        time.sleep(SPAN_S + 0.1)
    eventually(lambda: len(house.workers()) == 1, "it serves")
