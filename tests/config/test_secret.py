"""One secret for all processes, made once, never shown, and told by name when it is not right."""

import os
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from askonce.config.secret import AUDIT_CHAIN, KEY_HASHES, PROVIDER_KEYS, WEBHOOKS, Secret, derive, find_secret
from askonce.domain.errors import ConfigError

GIVEN = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"


def test_derivation_is_hkdf_with_sha256() -> None:
    # RFC 5869, A.1 to A.3
    assert derive(b"\x0b" * 22, bytes(range(0xF0, 0xFA)), bytes(range(13)), 42).hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )
    assert derive(bytes(range(80)), bytes(range(0xB0, 0x100)), bytes(range(0x60, 0xB0)), 82).hex() == (
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
        "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
        "cc30c58179ec3e87c14c01d5c1f3434f1d87"
    )
    assert derive(b"\x0b" * 22, b"", b"", 42).hex() == (
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )


def test_every_purpose_has_a_key_of_its_own() -> None:
    secret = Secret(GIVEN.encode())
    keys = {secret.subkey(purpose) for purpose in (KEY_HASHES, PROVIDER_KEYS, AUDIT_CHAIN, WEBHOOKS)}
    assert len(keys) == 4
    assert all(len(key) == 32 for key in keys)


def test_it_shows_nothing() -> None:
    secret = Secret(GIVEN.encode(), [OTHER.encode()])
    assert GIVEN not in repr(secret) + str(secret)
    assert OTHER not in repr(secret)
    assert not hasattr(secret, "__dict__")


def test_what_is_configured_is_taken_and_nothing_written(tmp_path: Path) -> None:
    secret = find_secret(GIVEN, tmp_path)
    assert secret.subkeys("x") == (derive(GIVEN.encode(), b"x"),)
    assert list(tmp_path.iterdir()) == []


def test_without_one_it_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first, second = find_secret("", folder), find_secret("", folder)
    assert first.subkey("x") == second.subkey("x")
    assert (folder / "secret").stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in folder.iterdir()] == ["secret"]
    assert find_secret("", tmp_path / "other").subkey("x") != first.subkey("x")


def test_former_secrets_still_open(tmp_path: Path) -> None:
    made = find_secret("", tmp_path)
    both = find_secret(f"{GIVEN}, {OTHER}", tmp_path)
    assert both.subkeys("x") == (derive(GIVEN.encode(), b"x"), derive(OTHER.encode(), b"x"), made.subkey("x"))


def test_a_secret_that_was_copied_from_the_folder_is_not_its_own_former(tmp_path: Path) -> None:
    made = find_secret("", tmp_path)
    copied = find_secret((tmp_path / "secret").read_text(), tmp_path)
    assert copied.subkeys("x") == (made.subkey("x"),)


def make_at_once(folder: Path, line: Connection) -> None:
    line.recv()
    line.send(find_secret("", folder).subkey("x"))


@pytest.mark.process
def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    context = get_context("spawn")
    lines = []
    processes = []
    for _ in range(4):
        ours, theirs = context.Pipe()
        process = context.Process(target=make_at_once, args=(tmp_path, theirs))
        process.start()
        lines.append(ours)
        processes.append(process)
    for line in lines:
        line.send("go")
    assert len({line.recv() for line in lines}) == 1
    for process in processes:
        process.join()
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


@pytest.mark.parametrize(
    ("configured", "told"),
    [("short", "secret 1 has 5 letters"), (f"{GIVEN},short", "secret 2 has 5 letters")],
)
def test_a_short_secret_is_refused_without_showing_it(configured: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        find_secret(configured, tmp_path)
    assert "openssl rand" in str(caught.value)
    assert "short," not in str(caught.value)


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    find_secret("", tmp_path)
    (tmp_path / "secret").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        find_secret("", tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n", b"half", b"x" * 5000])
def test_a_damaged_file_is_refused_and_never_replaced(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="damaged"):
        find_secret("", tmp_path)
    assert file.read_bytes() == content


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="ASKONCE_DATA_DIR"):
        find_secret("", tmp_path / "file" / "data")
    assert os.listdir(tmp_path) == ["file"]
