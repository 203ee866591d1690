"""What the tests of the state share: a clock set by hand, and entries."""

from dataclasses import dataclass
from hashlib import sha256
from random import Random

from askonce.domain.answer import Answer, Entry, pack
from askonce.domain.usage import Usage

SECOND = 1_000_000_000


@dataclass
class HandClock:
    """Stand still until told."""

    steady: int = 10**15
    wall: int = 1_700_000_000_000

    def steady_ns(self) -> int:
        return self.steady

    def wall_ms(self) -> int:
        return self.wall

    def pass_s(self, seconds: float) -> None:
        milliseconds = int(seconds * 1000)
        self.steady += milliseconds * 1_000_000
        self.wall += milliseconds


def key(number: int) -> bytes:
    """Return a fingerprint."""
    return sha256(number.to_bytes(4, "big")).digest()


def noise(seed: int, size: int = 20_000) -> bytes:
    """Return bytes that do not compress."""
    return Random(seed).randbytes(size)


def an_entry(number: int, stored_ms: int, text: str = "hello", rendition: bytes = b"") -> Entry:
    """Make an entry of tenant `team` that lives an hour."""
    answer = Answer(text, "stop", Usage(10, 20), "acme", "m1", "m1-2026", cost_nano=500)
    return Entry(
        key=key(number),
        tenant="team",
        provider="acme",
        model="m1",
        stored_ms=stored_ms,
        expires_ms=stored_ms + 3_600_000,
        cost_nano=500,
        prompt_tokens=10,
        completion_tokens=20,
        answer=pack(answer),
        rendition=rendition,
    )
