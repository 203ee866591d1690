import json
from pathlib import Path

import pytest

from askonce.domain.errors import ConfigError
from askonce.localmodel.resolve import OnDisk, presumed_name, resolve
from askonce.localmodel.weights import find

GGUF = b"GGUF\x03\x00\x00\x00"


def put(path: Path, content: bytes = GGUF) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a model of each kind in it."""
    layers = [
        {"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:1", "size": 1},
        {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:abc", "size": 8},
    ]
    manifests = tmp_path / ".ollama/models/manifests"
    put(manifests / "registry.ollama.ai/library/qwen2.5-coder/0.5b", json.dumps({"layers": layers}).encode())
    put(manifests / "registry.ollama.ai/library/plain/latest", json.dumps({"layers": layers}).encode())
    put(manifests / "registry.ollama.ai/somebody/own/v1", json.dumps({"layers": layers}).encode())
    put(manifests / "hf.co/Qwen/Coder/Q4", json.dumps({"layers": layers}).encode())
    put(manifests / "registry.ollama.ai/library/remote/latest", json.dumps({"layers": layers[:1]}).encode())
    put(tmp_path / ".ollama/models/blobs/sha256-abc")
    hub = tmp_path / ".cache/huggingface/hub/models--Qwen--Coder-GGUF"
    put(hub / "snapshots/old/coder-q8.gguf")
    put(hub / "snapshots/new/coder-q4.gguf")
    put(hub / "snapshots/new/mmproj-f16.gguf")
    put(hub / "refs/main", b"new\n")
    put(tmp_path / ".lmstudio/models/lmstudio-community/Two/a.gguf")
    put(tmp_path / ".lmstudio/models/lmstudio-community/Two/b.gguf")
    put(tmp_path / "models/mine.gguf")
    return tmp_path


@pytest.mark.parametrize("setting", ["auto", "on"])
def test_auto_is_the_default_model_and_where_that_fails_a_smoke_test_model(home: Path, setting: str) -> None:
    assert resolve(setting, home) == (find("qwen2.5-coder-0.5b"), find("smollm2-135m"))


def test_a_name_is_that_model_and_no_other(home: Path) -> None:
    assert resolve("qwen2.5-coder-1.5b", home) == (find("qwen2.5-coder-1.5b"),)


@pytest.mark.parametrize(
    ("setting", "name", "path"),
    [
        ("ollama:qwen2.5-coder:0.5b", "qwen2.5-coder-0.5b", ".ollama/models/blobs/sha256-abc"),
        ("ollama:plain", "plain", ".ollama/models/blobs/sha256-abc"),
        ("ollama:somebody/own:v1", "somebody-own-v1", ".ollama/models/blobs/sha256-abc"),
        ("ollama:hf.co/Qwen/Coder:Q4", "hf.co-qwen-coder-q4", ".ollama/models/blobs/sha256-abc"),
        (
            "hub:Qwen/Coder-GGUF",
            "coder-gguf",
            ".cache/huggingface/hub/models--Qwen--Coder-GGUF/snapshots/new/coder-q4.gguf",
        ),
        (
            "hub:Qwen/Coder-GGUF/coder-q8.gguf",
            "coder-q8",
            ".cache/huggingface/hub/models--Qwen--Coder-GGUF/snapshots/old/coder-q8.gguf",
        ),
        ("lmstudio:lmstudio-community/Two/b.gguf", "b", ".lmstudio/models/lmstudio-community/Two/b.gguf"),
        ("mine.gguf", "mine", "models/mine.gguf"),
    ],
)
def test_models_that_are_already_on_disk_are_found(home: Path, setting: str, name: str, path: str) -> None:
    assert resolve(setting, home / "models", home) == OnDisk(name=name, path=home / path)


def test_a_path_is_taken_as_it_is(home: Path) -> None:
    path = home / "models" / "mine.gguf"
    assert resolve(str(path), home / "elsewhere") == OnDisk(name="mine", path=path)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("ollama:nobody:1b", "Ollama has no such model here"),
        ("ollama:remote", "no weights of its own"),
        ("hub:Qwen/Nothing", "no such GGUF file"),
        ("lmstudio:lmstudio-community/Two", "several files; add one of a.gguf, b.gguf"),
        ("/nowhere/x.gguf", r"x.gguf cannot be read \(No such file"),
        ("./notes.txt", "cannot be read"),
        ("smollm", "did you mean 'smollm2-135m'"),
    ],
)
def test_what_cannot_be_found_is_refused_with_the_key_and_the_cure(home: Path, setting: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as refused:
        resolve(setting, home / "models", home)
    assert "ASKONCE_LOCAL_MODEL" in str(refused.value)


def test_a_file_of_another_kind_is_refused(home: Path) -> None:
    with pytest.raises(ConfigError, match="is not a GGUF file"):
        resolve(str(put(home / "x.gguf", b"PK\x03\x04")), home)


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("mine.gguf", "mine"),
        ("/models/Mine.gguf", "mine"),
        ("ollama:somebody/own:v1", "somebody-own-v1"),
        ("gpt9", "gpt9"),
        ("auto", "qwen2.5-coder-0.5b"),
        ("/", "qwen2.5-coder-0.5b"),
    ],
)
def test_what_is_not_there_still_has_a_name(setting: str, name: str) -> None:
    assert presumed_name(setting) == name
