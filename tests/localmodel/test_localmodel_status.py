import asyncio
import os
import stat
from pathlib import Path

import pytest
from msgspec.structs import replace

from askonce.domain.errors import ModelLoading, ModelUnavailable
from askonce.localmodel import status
from askonce.localmodel.status import ABSENT, GONE_GRACE_S, Status, wait_ready

FETCHING = Status(state="fetching", model="m", done=181_818_024, total=491_400_064, pid=os.getpid())
READY = Status(state="ready", model="m", base_url="http://127.0.0.1:1/v1", token="t", pid=os.getpid())
NOBODY = 2**22 + 1  # above the largest pid that Linux gives out


class Time:
    """A clock that moves only while somebody sleeps, and a plan of what happens meanwhile."""

    def __init__(self, path: Path, plan: dict[float, Status] | None = None) -> None:
        self.now_s = 0.0
        self.naps: list[float] = []
        self._path = path
        self._plan = plan or {}
        self.deaf_until_s = 0.0  # until when nobody listens, whatever the file says

    def steady_ns(self) -> int:
        return int(self.now_s * 1e9)

    def wall_ms(self) -> int:
        return 1_700_000_000_000 + int(self.now_s * 1e3)

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now_s += seconds
        for at_s in [at_s for at_s in self._plan if at_s <= self.now_s]:
            status.write(self._path, self._plan.pop(at_s))

    async def answers(self, base_url: str) -> bool:
        assert base_url == READY.base_url
        return self.now_s >= self.deaf_until_s

    def wait(self, deadline_s: float) -> Status:
        waiting = wait_ready(self._path, deadline_s, clock=self, sleep=self.sleep, answers=self.answers)
        return asyncio.run(waiting)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "localmodel.json"


def test_what_was_written_is_read_back_and_is_for_its_owner_only(path: Path) -> None:
    status.write(path, READY)
    assert status.read(path) == READY
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_no_file_reads_as_absent(path: Path) -> None:
    assert status.read(path) == ABSENT


def test_a_broken_file_reads_as_absent_and_says_so(path: Path) -> None:
    path.write_bytes(b'{"state": "rea')
    assert status.read(path).state == "absent"
    assert "cannot be read" in status.read(path).detail


def test_a_process_that_died_without_a_word_reads_as_stopped_without_its_address(path: Path) -> None:
    status.write(path, replace(READY, pid=NOBODY))
    seen = status.read(path)
    assert (seen.state, seen.base_url, seen.token, seen.model) == ("stopped", "", "", "m")


def test_a_failure_is_still_told_after_its_process_ended(path: Path) -> None:
    failed = Status(state="failed", detail="no room", permanent=True, pid=NOBODY)
    status.write(path, failed)
    assert status.read(path) == failed


def test_who_is_ready_is_not_waited_for(path: Path) -> None:
    status.write(path, READY)
    time = Time(path)
    assert time.wait(10) == READY
    assert time.naps == []


def test_waiting_ends_when_the_model_is_ready(path: Path) -> None:
    status.write(path, FETCHING)
    loading = Status(state="loading", model="m", pid=os.getpid())
    assert Time(path, {3: loading, 4: READY}).wait(60) == READY


def test_looks_become_rarer_and_none_is_past_the_deadline(path: Path) -> None:
    status.write(path, FETCHING)
    time = Time(path)
    with pytest.raises(ModelLoading):
        time.wait(1.0)
    assert time.naps[:4] == [0.05, 0.1, 0.2, 0.25]
    assert sum(time.naps) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("last", "sentence"),
    [
        (FETCHING, "The embedded model m is being fetched (37 % of 491 MB); ask again later."),
        (replace(FETCHING, total=0), "The embedded model m is being fetched (0 % of 0 MB); ask again later."),
        (replace(FETCHING, state="loading"), "The embedded model m is being loaded; ask again in a moment."),
        (Status(state="failed", detail="No luck."), "The embedded model is being started again: No luck."),
        (ABSENT, f"The embedded model is being started again: {ABSENT.detail}"),
    ],
)
def test_at_the_deadline_the_caller_is_told_what_is_going_on(path: Path, last: Status, sentence: str) -> None:
    status.write(path, last)
    with pytest.raises(ModelLoading) as raised:
        Time(path).wait(2)
    assert raised.value.message == sentence
    assert raised.value.retry_after_s


def test_a_failure_for_good_is_told_at_once(path: Path) -> None:
    status.write(path, Status(state="failed", detail="There is no xllamacpp for this platform.", permanent=True))
    time = Time(path)
    with pytest.raises(ModelUnavailable, match="not available: There is no xllamacpp"):
        time.wait(60)
    assert time.naps == []


@pytest.mark.parametrize("last", [ABSENT, Status(state="stopped"), replace(READY, pid=NOBODY)])
def test_a_model_that_nobody_starts_is_not_waited_for_to_the_deadline(path: Path, last: Status) -> None:
    status.write(path, last)
    time = Time(path)
    with pytest.raises(ModelUnavailable, match="is not running"):
        time.wait(600)
    assert GONE_GRACE_S <= time.now_s < GONE_GRACE_S + 1


def test_a_model_that_comes_back_after_its_death_is_waited_for(path: Path) -> None:
    status.write(path, replace(READY, pid=NOBODY))
    assert Time(path, {GONE_GRACE_S - 1: READY}).wait(600) == READY


def test_one_that_is_dead_and_not_yet_known_to_be_is_waited_for_like_any_other(path: Path) -> None:
    status.write(path, READY)
    time = Time(path)
    time.deaf_until_s = 3.0
    assert time.wait(600) == READY
    assert time.now_s >= 3.0
    time.deaf_until_s = 600.0
    with pytest.raises(ModelLoading, match="started again: Its process has just ended"):
        time.wait(2)


@pytest.mark.parametrize(("says", "lives"), [(b"HTTP/1.1 200 OK\r\n\r\n", True), (b"", False), (None, False)])
def test_only_who_answers_is_taken_for_alive(says: bytes | None, lives: bool) -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says or b"")
        writer.close()

    async def act() -> bool:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        if says is None:
            server.close()
        found = await status.answers(base_url)
        server.close()
        await server.wait_closed()
        return found

    assert asyncio.run(act()) is lives


def test_a_long_wait_survives_several_short_absences(path: Path) -> None:
    gone = replace(READY, pid=NOBODY)
    plan = {5.0: FETCHING, 30.0: gone, 35.0: FETCHING, 60.0: gone, 65.0: READY}
    status.write(path, gone)
    assert Time(path, plan).wait(600) == READY


def test_the_supervisor_can_give_a_model_up_for_everybody(path: Path) -> None:
    status.write(path, FETCHING)
    status.give_up(path, "It died five times.", clock=Time(path))
    seen = status.read(path)
    assert (seen.state, seen.permanent, seen.model, seen.detail) == ("failed", True, "m", "It died five times.")
    with pytest.raises(ModelUnavailable, match="It died five times"):
        Time(path).wait(60)
