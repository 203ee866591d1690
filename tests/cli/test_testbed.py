"""What `scripts/testbed` does where servers are missing: install them where it may, else say so; tests go on."""

import shutil
import subprocess
from pathlib import Path

import pytest

ALL = "postgresql redis-server libfaketime chromium prometheus"
SCRIPT = Path(__file__).parents[2] / "scripts" / "testbed"


def run_testbed(tmp_path: Path, user: int, apt: str = "") -> tuple[subprocess.CompletedProcess[str], str]:
    """Run it with few tools on its path; return what became of it, and what apt-get was asked."""
    tools, packaged, asked = tmp_path / "bin", tmp_path / "postgresql", tmp_path / "asked"
    tools.mkdir(exist_ok=True)
    for tool in ("sh", "mkdir", "touch", "chmod"):
        (tools / tool).symlink_to(shutil.which(tool) or tool)
    fakes = {"id": f"echo {user}"} | ({"apt-get": f'echo "$RUNLEVEL $*" >> {asked}\n{apt}'} if apt else {})
    for name, does in fakes.items():
        (tools / name).write_text(f"#!/bin/sh\n{does}\n")
        (tools / name).chmod(0o755)
    environ = {
        "PATH": str(tools),
        "ASKONCE_TEST_POSTGRES": str(packaged),
        "ASKONCE_TEST_FAKETIME": str(tmp_path / "lib"),
    }
    done = subprocess.run([SCRIPT], env=environ, capture_output=True, text=True)
    return done, asked.read_text() if asked.exists() else ""


def making(folder: Path) -> str:
    """Write an apt-get that installs."""
    binary = folder / "postgresql" / "15" / "bin"
    library = folder / "lib" / "any" / "faketime"
    programs = [folder / "bin" / name for name in ("redis-server", "chromium", "prometheus", "promtool")]
    made = (binary / "postgres", *programs, library / "libfaketime.so.1")
    return f"mkdir -p {binary} {library}" + "".join(f" && touch {path} && chmod +x {path}" for path in made)


def test_it_is_installed_without_starting_its_own_server(tmp_path: Path) -> None:
    done, asked = run_testbed(tmp_path, 0, making(tmp_path))
    assert done.returncode == 0
    assert asked.splitlines()[0] == "1 update -qq"
    assert asked.splitlines()[1].endswith(f"install -y -qq --no-install-recommends {ALL}")


def test_where_it_is_nothing_is_done(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    subprocess.run(["sh", "-c", making(tmp_path)], check=True)
    done, asked = run_testbed(tmp_path, 0, "exit 1")
    assert (done.returncode, done.stderr, asked) == (0, "", "")


def test_only_what_is_missing_is_installed(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    subprocess.run(["sh", "-c", making(tmp_path)], check=True)
    (tmp_path / "bin" / "redis-server").unlink()
    done, asked = run_testbed(tmp_path, 0, making(tmp_path))
    assert done.returncode == 0
    assert asked.splitlines()[1].endswith("--no-install-recommends redis-server")


@pytest.mark.parametrize(
    ("user", "apt", "says"),
    [
        (1000, "exit 1", f"On Debian and Ubuntu, as root: apt-get install {ALL}"),
        (0, "", f"On Debian and Ubuntu, as root: apt-get install {ALL}"),
        (0, "exit 100", "could not be installed"),
    ],
)
def test_what_is_missing_is_said_and_the_other_tests_go_on(tmp_path: Path, user: int, apt: str, says: str) -> None:
    done, _ = run_testbed(tmp_path, user, apt)
    assert done.returncode == 0
    assert says in done.stderr
