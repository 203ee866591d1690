"""What is shipped for running Askonce elsewhere: each file by its own tool, and all of it by what Askonce knows."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from askonce.api.doors import DOORS
from askonce.config.table import OTHER_VARIABLES, SETTINGS
from askonce.config.values import duration
from askonce.providers.catalog import VENDORS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TOOLS = Path(sys.executable).parent
SHIPPED = [ROOT / "Dockerfile", *(path for path in sorted(DEPLOY.rglob("*")) if path.is_file())]
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
_span = duration(0, 86_400)


def lint(*command: str | Path) -> str:
    """Run a linter; return what it found, "" for nothing."""
    done = run(*command)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=ROOT, check=False)


def manifests() -> list[dict[str, object]]:
    return [
        one for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")) for one in yaml.safe_load_all(path.read_text())
    ]


def test_the_dockerfile_by_hadolint() -> None:
    assert lint(TOOLS / "hadolint", "Dockerfile") == ""


def test_the_composition_by_its_schema() -> None:
    assert lint(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml") == ""


def test_the_manifests_by_the_schemas_of_kubernetes() -> None:
    paths = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    done = run(TOOLS / "kubernetes-validate", "--strict", *paths)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "WARN" not in told, "what it has no schema for it lets pass"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_units_by_systemd(unit: Path, tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze")
    assert tool is not None, "systemd-analyze is missing: apt-get install systemd"
    # The commands are where the page says that they are installed; here they are elsewhere.
    here = unit.read_text().replace("/opt/askonce/bin/askonce", str(TOOLS / "askonce"))
    copy = tmp_path / unit.name
    copy.write_text(here)
    done = run(tool, "verify", "--man=no", copy)
    assert unit.name not in done.stdout + done.stderr, "it warns of what it does not know, and succeeds"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_setting_that_is_named_exists(path: Path) -> None:
    known = {name for setting in SETTINGS for name in (setting.env, setting.also)} | set(OTHER_VARIABLES)
    known |= {variable for vendor in VENDORS for variable in vendor.key_variables}
    named = set(re.findall(r"\b(?:ASKONCE_[A-Z_]+|[A-Z]+_API_KEY|STATE_URL|DATABASE_URL)\b", path.read_text()))
    assert named <= known


def test_every_path_that_is_probed_is_a_door() -> None:
    probed = set(re.findall(r"path: (/\w+)", (DEPLOY / "kubernetes" / "askonce.yaml").read_text()))
    assert probed == {"/health", "/ready"}
    assert probed <= {door.path for door in DOORS}


def test_everybody_waits_longer_than_draining_takes() -> None:
    settings = next(one for one in manifests() if one["kind"] == "ConfigMap")["data"]
    assert isinstance(settings, dict)
    takes_s = _span(settings["ASKONCE_DRAIN"]) + _span(settings["ASKONCE_DRAIN_DELAY"])
    waits = re.findall(r"terminationGracePeriodSeconds: (\d+)", (DEPLOY / "kubernetes" / "askonce.yaml").read_text())
    assert waits
    assert all(int(wait) > takes_s + 5 for wait in waits)
    composed = (DEPLOY / "compose.yaml").read_text()
    takes_s = sum(_span(span) for span in re.findall(r"ASKONCE_DRAIN(?:_DELAY)?: (\S+)", composed))
    assert all(int(wait) > takes_s + 5 for wait in re.findall(r"stop_grace_period: (\d+)s", composed))


def test_nothing_that_is_kept_is_thrown_away() -> None:
    assert "volatile-lru" in (DEPLOY / "compose.yaml").read_text()


def test_the_version_of_the_images_is_ours() -> None:
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert set(re.findall(r"image: askonce:(\S+)", (DEPLOY / "kubernetes" / "askonce.yaml").read_text())) == {
        version[1]
    }
    pinned = re.search(r"^UV_VERSION=(\S+)", (ROOT / "scripts" / "bootstrap").read_text(), re.MULTILINE)
    assert pinned is not None
    assert f"uv=={pinned[1]}" in (ROOT / "Dockerfile").read_text()
