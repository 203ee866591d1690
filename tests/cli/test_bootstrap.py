"""From nothing to a start: what `scripts/bootstrap` says where Python cannot install, and the wheel on its own."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# How a Debian without python3-venv behaves: it runs, and has neither ensurepip nor pip.
BARE = '#!/bin/sh\ncase "$*" in *ensurepip*|*pip*) exit 1;; *--version*) echo Python 3.11.2;; esac\nexit 0\n'
OLD = "#!/bin/sh\nexit 1\n"
PYTHONS = ["3.11", "3.13"]


def bootstrap(tmp_path: Path, python: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the script of a copy that has nothing installed, with one python3 and the usual small tools on its path."""
    scripts, tools = tmp_path / "project" / "scripts", tmp_path / "bin"
    scripts.mkdir(parents=True)
    tools.mkdir(exist_ok=True)
    shutil.copy(ROOT / "scripts" / "bootstrap", scripts)
    for tool in ("dirname", "cut", "rm", "touch", "sh"):
        found = shutil.which(tool)
        assert found
        (tools / tool).symlink_to(found)
    (tools / "python3").write_text(python)
    (tools / "python3").chmod(0o755)
    return subprocess.run([scripts / "bootstrap"], env={"PATH": str(tools)} | environ, capture_output=True, text=True)


def prepared(tmp_path: Path) -> Path:
    """Lay down a copy whose .venv is there and whose uv writes down how it is called; return its root."""
    project, tools = tmp_path / "project", tmp_path / "bin"
    (project / ".uv" / "bin").mkdir(parents=True)
    uv = project / ".uv" / "bin" / "uv"
    uv.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo uv {UV_VERSION} && exit\n'
        'echo "$UV_SYSTEM_CERTS $SSL_CERT_FILE $*" >> called\n'
        '[ "$1" != venv ] || { mkdir -p .venv/bin && ln -s "$5" .venv/bin/python; }\n'
    )
    uv.chmod(0o755)
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (project / ".venv" / "old").touch()
    for source in ("uv.lock", "pyproject.toml"):
        (project / source).touch()
    tools.mkdir()
    for tool in ("mkdir", "ln"):
        (tools / tool).symlink_to(shutil.which(tool) or tool)
    return project


UV_VERSION = re.search(r"UV_VERSION=(\S+)", (ROOT / "scripts" / "bootstrap").read_text())[1]  # type: ignore[index]
# Another installation of a fitting Python: it answers as one, from elsewhere.
OTHER = '#!/bin/sh\ncase "$*" in *base_prefix*) echo another;; *) exec {python} "$@";; esac\n'


@pytest.mark.parametrize("named", ["/nonexistent/python", "old"])
def test_a_named_python_that_does_not_fit_is_refused_though_another_one_would(tmp_path: Path, named: str) -> None:
    old = tmp_path / "old"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2\n[ "$1" = --version ]\n')
    old.chmod(0o755)
    project = prepared(tmp_path)
    done = bootstrap(tmp_path, BARE, PYTHON=str(old) if named == "old" else named)
    assert done.returncode == 1
    assert ("is Python 3.9.2; " if named == "old" else f"PYTHON={named} is no Python that runs") in done.stderr
    assert (project / ".venv" / "old").exists()


def test_a_named_python_other_than_the_environments_makes_it_anew(tmp_path: Path) -> None:
    project, other = prepared(tmp_path), tmp_path / "other"
    other.write_text(OTHER.format(python=sys.executable))
    other.chmod(0o755)
    done = bootstrap(tmp_path, OLD, PYTHON=str(other))
    assert done.returncode == 0, done.stderr
    assert not (project / ".venv" / "old").exists()
    assert f"venv --quiet --clear --python {other} .venv" in (project / "called").read_text()


def test_the_same_python_named_again_keeps_the_environment(tmp_path: Path) -> None:
    project = prepared(tmp_path)
    done = bootstrap(tmp_path, OLD, PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr
    assert (project / ".venv" / "old").exists()
    assert "venv" not in (project / "called").read_text()
    (project / "called").unlink()
    again = subprocess.run(
        [project / "scripts" / "bootstrap"], env={"PATH": str(tmp_path / "bin"), "PYTHON": sys.executable}, check=True
    )
    assert again.returncode == 0
    assert not (project / "called").exists()


@pytest.mark.parametrize(
    ("environ", "passed"),
    [
        ({"SSL_CERT_FILE": __file__}, f"1 {__file__} "),
        ({"PIP_CERT": __file__}, f"1 {__file__} "),
        ({"SSL_CERT_FILE": __file__, "UV_SYSTEM_CERTS": "0"}, f"0 {__file__} "),
    ],
)
def test_certificates_that_pip_knows_are_told_to_uv(tmp_path: Path, environ: dict[str, str], passed: str) -> None:
    project = prepared(tmp_path)
    done = bootstrap(tmp_path, OLD, PYTHON=sys.executable, **environ)
    assert done.returncode == 0, done.stderr
    assert (project / "called").read_text().startswith(passed)


def test_a_python_that_cannot_install_is_named_with_the_package_that_cures_it(tmp_path: Path) -> None:
    done = bootstrap(tmp_path, BARE)
    assert done.returncode == 1
    assert "Python 3.11.2" in done.stderr
    assert "apt install python3-venv" in done.stderr


def test_no_fitting_python_is_said_plainly(tmp_path: Path) -> None:
    done = bootstrap(tmp_path, OLD)
    assert done.returncode == 1
    assert "No Python of 3.11 to 3.13 was found" in done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from what is committed or about to be."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([uv(), "build", "--wheel", "--quiet", "--out-dir", folder, ROOT], check=True, timeout=300)
    (built,) = folder.glob("*.whl")
    return built


def uv() -> str:
    """Find uv: the bootstrap's, or one on the path."""
    found = shutil.which("uv", path=f"{ROOT / '.uv' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip("there is no uv: `make test` fetches it")
    return found


def interpreter(version: str) -> str:
    """Find an interpreter of a version where people keep them."""
    found = subprocess.run([uv(), "python", "find", "--no-project", version], capture_output=True, text=True)
    kept = [Path(found.stdout.strip())] if found.returncode == 0 else []
    kept += sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for python in kept:
        if python.exists():
            return str(python)
    pytest.skip(f"this machine has no Python {version}")


@pytest.mark.process
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_installs_into_a_clean_environment_and_serves(tmp_path: Path, wheel: Path, version: str) -> None:
    environment = tmp_path / "venv"
    subprocess.run([uv(), "venv", "--quiet", "--python", interpreter(version), environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run([uv(), "pip", "install", "--quiet", "--python", python, wheel], check=True, timeout=500)
    # Nothing of the checkout: neither its folder nor its interpreter.
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ASKONCE_LOCAL_MODEL": "off"}
    log = tmp_path / "log"
    with log.open("wb") as sink:
        command = [str(environment / "bin" / "askonce"), "serve", "--port", "0"]
        server = subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=sink, stderr=sink)
    try:
        deadline = time.monotonic() + 60
        while " answers at " not in log.read_text():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        url = log.read_text().partition(" answers at ")[2].split()[0]
        stats = [str(environment / "bin" / "askonce"), "stats", "--url", url]
        done = subprocess.run(stats, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert "hits  0" in done.stdout
        server.terminate()
        assert server.wait(30) == 0
    finally:
        server.kill()
        server.wait()
    where = subprocess.run(
        [python, "-c", "import askonce; print(askonce.__file__)"], capture_output=True, text=True, cwd=tmp_path
    )
    assert str(environment) in where.stdout
    assert sys.prefix not in where.stdout
