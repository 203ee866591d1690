"""The worker under the supervisor: when it comes, that it always comes back, that it goes last, what it may show."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.supervisor.test_house import DEADLINE_S, answers, eventually, start, supervisor

from askonce.config.settings import Config
from askonce.domain.errors import ConfigError
from askonce.supervisor import working

pytestmark = pytest.mark.process


def diary(folder: Path) -> list[str]:
    try:
        return (folder / "data" / "diary").read_text().splitlines()
    except FileNotFoundError:
        return []


def pid(line: str) -> int:
    return int(line.split()[1])


def test_it_works_once_a_gateway_serves_and_ends_after_the_gateways(tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        eventually(lambda: len(diary(tmp_path)) == 1)
        aside = running.ask_aside("/slow?1")
        assert running.end() == 0
        assert aside.join().answer is not None
        assert diary(tmp_path)[1:] == ["ended"]
        assert "ended unexpectedly" not in running.log()


def test_it_comes_back_however_often_it_is_killed(tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        for round_ in range(8):
            eventually(lambda number=round_: len(diary(tmp_path)) > number)  # type: ignore[misc]
            os.kill(pid(diary(tmp_path)[-1]), signal.SIGKILL)
        eventually(lambda: len(diary(tmp_path)) == 9)
        assert answers(running)
        assert "given up" not in running.log()


def test_a_frozen_one_is_killed_as_it_may_hold_locks(tmp_path: Path) -> None:
    with supervisor(tmp_path):
        eventually(lambda: len(diary(tmp_path)) == 1)
        os.kill(pid(diary(tmp_path)[0]), signal.SIGSTOP)
        eventually(lambda: len(diary(tmp_path)) == 2)


def test_one_that_can_never_work_is_given_up_and_gateways_go_on(tmp_path: Path) -> None:
    with supervisor(tmp_path, limit_message="worker hopeless") as running:
        eventually(lambda: '"given up"' in running.log())
        assert "this will never work" in running.log()
        assert answers(running)
        assert running.end() == 0


def test_a_first_administrators_link_is_on_the_screen_once_and_never_in_the_log(tmp_path: Path) -> None:
    port = "0"
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ASKONCE_PORT": port}
    environ |= {"ASKONCE_DATA_DIR": str(tmp_path / "data"), "ASKONCE_LOCAL_MODEL": "off"}
    script = Path(__file__).with_name("standin_supervisor.py")
    with (tmp_path / "screen").open("wb") as screen, (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, str(script)], env=environ, cwd=tmp_path, stdout=screen, stderr=log)
    try:
        eventually(lambda: "/login?word=THE-WORD " in (tmp_path / "screen").read_text())
        first = diary(tmp_path)[0]
        assert first.endswith("welcoming")
        os.kill(pid(first), signal.SIGKILL)
        eventually(lambda: len(diary(tmp_path)) == 2)
        assert diary(tmp_path)[1].endswith("silent"), "its former link still holds"
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        process.wait()
    assert (tmp_path / "screen").read_text().count("THE-WORD") == 1
    assert "THE-WORD" not in (tmp_path / "log").read_text()


def test_where_it_runs_elsewhere_none_is_started(tmp_path: Path) -> None:
    with supervisor(tmp_path, ledger_worker="off") as running:
        eventually(lambda: (tmp_path / "data" / "run").is_dir())
        assert running.end() == 0
        assert diary(tmp_path) == []


def test_there_is_one_per_folder(tmp_path: Path) -> None:
    with supervisor(tmp_path):
        eventually(lambda: len(diary(tmp_path)) == 1)
        with pytest.raises(ConfigError, match="Another worker serves"):
            working.work_alone(lambda *_: pytest.fail("it was built"), Config(data_dir=str(tmp_path / "data")), 1)


def test_a_supervisors_worker_waits_for_one_that_was_there_before(tmp_path: Path) -> None:
    (tmp_path / "data" / "run").mkdir(parents=True)
    lock = working._open_lock(Config(data_dir=str(tmp_path / "data")))
    assert working._take(lock)
    running = start(tmp_path)
    try:
        eventually(lambda: "waiting until it ends" in running.log())
        assert diary(tmp_path) == []
        os.close(lock)
        eventually(lambda: len(diary(tmp_path)) == 1)
        assert running.end() == 0
    finally:
        running.process.kill()
        running.process.wait()
