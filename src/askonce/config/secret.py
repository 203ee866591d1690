"""The one secret from which all others are derived: configured, or made once and kept in the data folder.

`ASKONCE_SECRET` may hold several, separated by commas: the first is in force, the others are former ones, which still
open what was sealed with them. A secret in the data folder that is not the configured one counts as a former one, so
that going from one machine to several is only a matter of setting the variable.
"""

import contextlib
import hashlib
import hmac
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from askonce.domain.credentials import mint_token
from askonce.domain.errors import ConfigError

FILE_NAME = "secret"
MIN_LETTERS = 32  # what `openssl rand -hex 16` makes: 128 bits
MAX_BYTES = 4096  # of the file
_CURE = "`openssl rand -hex 32` makes one"

# Purposes. Each gives a key of its own, so that what one part knows opens nothing of another.
KEY_HASHES = "askonce api key hashes v1"
PROVIDER_KEYS = "askonce provider keys v1"
AUDIT_CHAIN = "askonce audit chain v1"
LOGINS = "askonce logins elsewhere v1"
WEBHOOKS = "askonce webhook signatures v1"
STATE_MARK = "askonce shared state v1"


class Secret:
    """Hold the secret in force and its former ones; shows none of them."""

    __slots__ = ("_materials",)

    def __init__(self, current: bytes, former: Sequence[bytes] = ()) -> None:
        self._materials = (current, *(material for material in former if material != current))

    def __repr__(self) -> str:
        return f"Secret(hidden, {len(self._materials) - 1} former)"

    def subkey(self, purpose: str) -> bytes:
        """Return 32 bytes for one purpose only."""
        return derive(self._materials[0], purpose.encode())

    def subkeys(self, purpose: str) -> tuple[bytes, ...]:
        """Return the same of the former ones too, that in force first."""
        return tuple(derive(material, purpose.encode()) for material in self._materials)


def derive(material: bytes, info: bytes, salt: bytes = b"", size: int = 32) -> bytes:
    """Stretch a secret into a key for one purpose: HKDF with SHA-256 (RFC 5869); `size` is at most 8,160 bytes."""
    seed = hmac.digest(salt or bytes(32), material, hashlib.sha256)
    block, made = b"", b""
    for number in range(1, -(-size // 32) + 1):
        block = hmac.digest(seed, block + info + bytes([number]), hashlib.sha256)
        made += block
    return made[:size]


def find_secret(configured: str, data_dir: Path) -> Secret:
    """Return what is configured, else what the data folder holds, else make it there; the same for all processes.

    Raises `ConfigError` for a secret that is too short, and for a file that is damaged or that others may read.
    """
    words = _words(configured)
    path = data_dir / FILE_NAME
    kept = _read(path)
    if not words:
        kept = kept or _make(path)
        return Secret(kept)
    materials = [word.encode() for word in words] + ([kept] if kept else [])
    return Secret(materials[0], materials[1:])


def check_secret(configured: str, data_dir: Path) -> None:
    """Raise `ConfigError` where `find_secret` would; makes nothing."""
    _words(configured)
    _read(data_dir / FILE_NAME)


def _words(configured: str) -> list[str]:
    words = [word.strip() for word in configured.split(",") if word.strip()]
    for number, word in enumerate(words, start=1):
        if len(word) < MIN_LETTERS:
            raise ConfigError(
                f"ASKONCE_SECRET: secret {number} has {len(word)} letters, at least {MIN_LETTERS} are needed; {_CURE}."
            )
    return words


def _make(path: Path) -> bytes:
    """Write a new secret, whole or not at all; where another process was quicker, its secret is the one."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(mint_token().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # unlike a rename, it never takes the place of one that is there
        _sync(path.parent)
    except OSError as error:
        raise ConfigError(
            f"ASKONCE_DATA_DIR: {path} cannot be written: {error.strerror}; correct the folder's owner and "
            f"permissions, or set ASKONCE_SECRET ({_CURE})."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    made = _read(path)
    if made is None:
        raise ConfigError(f"ASKONCE_DATA_DIR: {path} vanished while it was made; start again.")
    return made


def _read(path: Path) -> bytes | None:
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"ASKONCE_DATA_DIR: {path} cannot be read: {error.strerror}; correct its owner.") from error
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigError(f"ASKONCE_DATA_DIR: others may read {path}; say `chmod 600 {path}`, and think who did.")
    material = content.strip()
    if not MIN_LETTERS <= len(material) <= MAX_BYTES:
        raise ConfigError(
            f"ASKONCE_DATA_DIR: {path} is damaged; restore it from a backup. Without it no key of this installation is "
            "known any more; if none is needed, delete the file and a new one is made."
        )
    return material


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
