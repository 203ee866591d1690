"""The supervisor with real processes: stand-in gateways behind real sockets, and every way to end them."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from askonce.config.paths import status_path
from askonce.localmodel.status import Status, read

pytestmark = pytest.mark.process
SUPERVISOR = Path(__file__).with_name("standin_supervisor.py")
DEADLINE_S = 20.0


class Running:
    """Hold a supervisor that runs for a test."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self._log = log

    def ask(self, path: str = "/", timeout_s: float = 10.0) -> tuple[int, int, int]:
        """Return slot, incarnation and process id of the gateway that answers."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)) as connection:
            connection.request("GET", path)
            slot, incarnation, pid = connection.getresponse().read().split()
        return int(slot), int(incarnation), int(pid)

    def ask_aside(self, path: str) -> "Aside":
        """Ask in a thread, and return once the question is with a gateway."""
        eventually(lambda: not self._connected())
        aside = Aside(lambda: self.ask(path, timeout_s=60))
        eventually(self._connected)
        return aside

    def _connected(self) -> bool:
        return any(_is_connected(child) for child in self.children())

    def log(self) -> str:
        return self._log.read_text()

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def gateways(self) -> list[psutil.Process]:
        """Return the children that serve; the errand comes and goes."""
        return [child for child in self.children() if _runs(child, "standin_gateway.py")]

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)


def _runs(process: psutil.Process, program: str) -> bool:
    try:
        return any(part.endswith(program) for part in process.cmdline())
    except psutil.NoSuchProcess:
        return False


def _is_connected(process: psutil.Process) -> bool:
    try:
        return any(one.status == psutil.CONN_ESTABLISHED for one in process.net_connections())
    except psutil.NoSuchProcess:
        return False


class Aside:
    """Hold a question that a thread asks, and how it ended."""

    def __init__(self, ask: Callable[[], tuple[int, int, int]]) -> None:
        self.answer: tuple[int, int, int] | None = None
        self.failure: Exception | None = None
        self._ask = ask
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.answer = self._ask()
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.failure = error

    def join(self) -> "Aside":
        self._thread.join(DEADLINE_S)
        return self


def eventually(holds: Callable[[], bool], within_s: float = DEADLINE_S) -> None:
    """Poll a condition until it holds."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def answers(running: Running) -> bool:
    try:
        running.ask(timeout_s=1.0)
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return True


def status(folder: Path) -> Status:
    return read(status_path(str(folder / "data")))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(folder: Path, **settings: str) -> Running:
    """Start one; names in capitals are variables as they stand."""
    port = settings.get("port") or str(free_port())
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    environ |= {"ASKONCE_DATA_DIR": str(folder / "data"), "ASKONCE_LOCAL_MODEL": "off", "ASKONCE_PORT": port}
    environ |= {key if key.isupper() else f"ASKONCE_{key.upper()}": value for key, value in settings.items()}
    log = folder / f"log-{port}"
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [sys.executable, str(SUPERVISOR)], env=environ, cwd=folder, stdout=sink, stderr=sink, process_group=0
        )
    return Running(process, int(port), log)


@contextmanager
def supervisor(folder: Path, **settings: str) -> Iterator[Running]:
    running = start(folder, **settings)
    try:
        eventually(lambda: answers(running) or running.process.poll() is not None)
        assert running.process.poll() is None, running.log()
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def test_it_says_how_to_ask(tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        eventually(lambda: f"curl http://127.0.0.1:{running.port}/llm/generate" in running.log())
        assert str(tmp_path / "data") in running.log()
        assert running.end() == 0


def test_port_zero_takes_one_that_is_free(tmp_path: Path) -> None:
    running = start(tmp_path, port="0")
    try:
        eventually(lambda: "answers at http://127.0.0.1:" in running.log())
        assert "answers at http://127.0.0.1:0" not in running.log()
        assert running.end() == 0
    finally:
        running.process.kill()
        running.process.wait()


def test_a_port_in_use_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        running = start(tmp_path, port=str(other.getsockname()[1]))
        assert running.process.wait(DEADLINE_S) == 2
    assert "the port is in use" in running.log()
    assert "--port" in running.log()


def test_a_wrong_way_out_is_named_before_anything_starts(tmp_path: Path) -> None:
    running = start(tmp_path, SSL_CERT_FILE="/nonexistent/ca.pem")
    assert running.process.wait(DEADLINE_S) == 2
    assert "SSL_CERT_FILE='/nonexistent/ca.pem'" in running.log()
    assert not (tmp_path / "data").exists()


def test_a_port_that_another_server_shares_is_in_use_too(tmp_path: Path) -> None:
    with supervisor(tmp_path) as first:
        second = start(tmp_path, port=str(first.port), data_dir=str(tmp_path / "other"))
        assert second.process.wait(DEADLINE_S) == 2
        assert "the port is in use" in second.log()


def test_a_second_supervisor_is_kept_off_the_folder(tmp_path: Path) -> None:
    with supervisor(tmp_path) as first:
        second = start(tmp_path)
        assert second.process.wait(DEADLINE_S) == 2
        assert f"another askonce (pid {first.process.pid}) uses this folder" in second.log()
        assert answers(first)


def test_a_killed_gateway_is_replaced_and_those_who_wait_are_served(tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        _, incarnation, pid = running.ask()
        os.kill(pid, signal.SIGKILL)
        _, later, replacement = running.ask()
        assert replacement != pid
        assert later > incarnation
        assert "SIGKILL" in running.log()


def test_a_frozen_gateway_is_killed_and_replaced(tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        _, _, pid = running.ask()
        before = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: answers(running) and running.ask()[2] != pid)
        assert time.monotonic() - before > 1.5, "a moment's silence is no reason"
        assert '"because":"frozen"' in running.log()


def test_a_gateway_whose_loop_hangs_is_killed_and_replaced(tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        _, _, pid = running.ask()
        with pytest.raises((OSError, http.client.HTTPException)):
            running.ask("/hang?60", timeout_s=30)
        assert running.ask()[2] != pid
        assert '"because":"stuck"' in running.log()


def test_a_supervisor_that_was_stopped_for_long_harms_nobody_when_it_goes_on(tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        _, _, pid = running.ask()
        running.process.send_signal(signal.SIGSTOP)
        threading.Event().wait(3.0)  # longer than the silence that kills; nothing can be polled meanwhile
        running.process.send_signal(signal.SIGCONT)
        eventually(lambda: bool(running.children()))
        threading.Event().wait(1.0)
        assert running.ask()[2] == pid


def test_a_pause_of_the_whole_machine_harms_nobody(tmp_path: Path) -> None:
    with supervisor(tmp_path, workers="2") as running:
        eventually(lambda: {running.ask()[0] for _ in range(20)} == {0, 1})
        gateways = running.gateways()
        everybody = [psutil.Process(running.process.pid), *gateways]
        for process in reversed(everybody):
            process.suspend()
        threading.Event().wait(4.0)  # longer than the silence that kills; nothing can be polled meanwhile
        for process in everybody:
            process.resume()
        eventually(lambda: '"was stopped"' in running.log())
        threading.Event().wait(1.0)
        assert running.gateways() == gateways
        assert '"killed"' not in running.log()
        gateways[0].suspend()
        eventually(lambda: '"because":"frozen"' in running.log())


def test_gateways_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    with supervisor(tmp_path, workers="2") as running:
        eventually(lambda: len(running.gateways()) == 2)
        children = running.gateways()
        children[0].suspend()
        running.process.kill()
        running.process.wait()
        gone, alive = psutil.wait_procs(children, timeout=5)
        assert not alive
        assert len(gone) == 2
        with supervisor(tmp_path, port=str(running.port)) as successor:
            assert answers(successor)


def test_sigterm_lets_a_request_in_flight_end_and_admits_nobody_else(tmp_path: Path) -> None:
    with supervisor(tmp_path, workers="2") as running:
        eventually(lambda: len(running.gateways()) == 2)
        aside = running.ask_aside("/slow?2")
        running.process.send_signal(signal.SIGTERM)
        eventually(lambda: not answers(running), within_s=1.5)
        assert running.process.wait(DEADLINE_S) == 0
        assert aside.join().answer is not None


def test_a_second_signal_ends_everything_at_once(tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        aside = running.ask_aside("/slow?30")
        running.process.send_signal(signal.SIGINT)
        eventually(lambda: "draining" in running.log())
        before = time.monotonic()
        running.process.send_signal(signal.SIGINT)
        running.process.wait(DEADLINE_S)
        assert time.monotonic() - before < 20.0
        assert aside.join().failure is not None


def test_drain_ends_when_its_time_is_over(tmp_path: Path) -> None:
    with supervisor(tmp_path, drain="1s") as running:
        aside = running.ask_aside("/slow?60")
        before = time.monotonic()
        assert running.end() == 0
        assert time.monotonic() - before < 30.0
        assert aside.join().failure is not None


@pytest.mark.parametrize(("how", "says"), [("die", "again and again"), ("hopeless", "this will never work")])
def test_gateways_that_never_start_are_given_up_loudly(tmp_path: Path, how: str, says: str) -> None:
    running = start(tmp_path, limit_message=how)
    assert running.process.wait(60) == 1
    assert "no gateway can run" in running.log()
    assert says in running.log() or how == "die"


def test_one_gateway_that_cannot_start_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    with supervisor(tmp_path, workers="2", limit_message="die second") as running:
        eventually(lambda: '"given up"' in running.log(), within_s=60)

        def served() -> bool:
            try:
                return {running.ask()[0] for _ in range(20)} == {0}
            except ConnectionError:  # who waited at the one that was given up, at that very moment
                return False

        eventually(served)


def test_connections_spread_over_the_gateways(tmp_path: Path) -> None:
    with supervisor(tmp_path, workers="2") as running:
        eventually(lambda: {running.ask()[0] for _ in range(20)} == {0, 1})


def test_the_embedded_model_is_started_again_and_ends_last(tmp_path: Path) -> None:
    with supervisor(tmp_path, local_model="on") as running:
        eventually(lambda: "The embedded model is ready" in running.log())
        first = status(tmp_path).pid
        os.kill(first, signal.SIGKILL)
        eventually(lambda: status(tmp_path).pid != first and status(tmp_path).state == "ready")
        assert running.log().count("ended unexpectedly") == 1
        assert running.end() == 0
        assert running.log().count("ended unexpectedly") == 1


@pytest.mark.parametrize(("how", "deaths"), [("hopeless", 1), ("failing", 5)])
def test_an_embedded_model_that_cannot_work_is_given_up_and_says_why(tmp_path: Path, how: str, deaths: int) -> None:
    weights = tmp_path / f"{how}.gguf"
    weights.write_bytes(b"GGUF")
    with supervisor(tmp_path, local_model=str(weights)) as running:
        eventually(lambda: status(tmp_path).permanent)
        assert status(tmp_path).state == "failed"
        assert status(tmp_path).detail.startswith("No such luck. (given up: exit code")
        assert (tmp_path / "data" / "starts").read_text() == "x" * deaths
        assert answers(running)


def test_an_earlier_runs_embedded_model_is_forgotten(tmp_path: Path) -> None:
    with supervisor(tmp_path, local_model="on") as running:
        eventually(lambda: status(tmp_path).state == "ready")
        assert running.end() == 0
    with supervisor(tmp_path):
        assert status(tmp_path).state == "absent"


def test_sighup_without_a_terminal_changes_nothing(tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: "SIGHUP changes nothing" in running.log())
        assert answers(running)


def test_no_secret_stands_in_a_command_line_or_environment_of_a_child(tmp_path: Path) -> None:
    secrets = {"OPENAI_API_KEY": "sk-very-secret-vendors", "GOOGLE_API_KEY": "sk-very-secret-too"}
    secrets |= {"keys": "sk-very-secret-key", "secret": "sk-very-secret-" + 32 * "s", "key": "sk-very-secret-callers"}
    with supervisor(tmp_path, **secrets, local_model="on", HTTPS_PROXY="http://proxy:3128") as running:
        eventually(lambda: "The embedded model is ready" in running.log())
        models = [child for child in running.children() if _runs(child, "standin_model.py")]
        assert (len(models), len(running.gateways())) == (1, 1)
        eventually(lambda: any(_runs(child, "standin_worker.py") for child in running.children()))
        for child in running.children():
            assert "very-secret" not in " ".join([*child.cmdline(), *child.environ().values()])
            assert child.environ()["HTTPS_PROXY"] == "http://proxy:3128"
        assert "sk-very-secret-key" not in running.log()
        eventually(lambda: "YOUR_KEY" in running.log())


def test_the_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    with supervisor(tmp_path):
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    shutil.rmtree(tmp_path / "data")
