"""What a door's shape must be able to do: read questions, write answers, whole or as a stream, and write errors."""

from typing import Protocol

from msgspec import Struct

from askonce.domain.answer import Answer, CacheState, Entry, Piece
from askonce.domain.call import Ask, CacheWish
from askonce.domain.errors import AskonceError
from askonce.domain.usage import Usage


class Facts(Struct, frozen=True):
    """Hold what is one reply's own.

    Ages in seconds, latency in milliseconds. `ask` is the request; `provider` and `model` are who answers, known
    before the answer is. `now_ms` is the wall time (epoch milliseconds), for shapes that tell when a stream began.
    """

    state: CacheState
    age_s: int
    latency_ms: int
    request_id: str
    ask: Ask
    provider: str = ""
    model: str = ""
    explanation: str = ""  # of the routing decision, as JSON; "" where there was nothing to decide
    now_ms: int = 0
    told: Usage | None = None  # what the vendor said of usage before the answer was whole


class Writer(Protocol):
    """Write one streamed reply's events, in order. Every method returns bytes that are sent as they are."""

    def start(self, facts: Facts) -> bytes:
        """Begin; called once, before anything else. May return b""."""
        ...

    def piece(self, piece: Piece) -> bytes:
        """Write one piece."""
        ...

    def still_here(self) -> bytes:
        """Say that the stream lives, in a way that clients of this shape skip."""
        ...

    def done(self, entry: Entry, facts: Facts) -> bytes:
        """Write what is left of the answer (all of it, if no piece came), then the end."""
        ...

    def error(self, error: AskonceError, request_id: str) -> bytes:
        """Write the last event of a stream that broke."""
        ...


class Codec(Protocol):
    """Translate one shape of question and answer, both ways. Pure.

    `name` tells renditions in stored entries apart: change it when their format changes.
    """

    name: str

    def read(self, body: bytes, tenant: str, wish: CacheWish) -> Ask:
        """Turn a body into a question. Raises `Malformed` and `Invalid`; nothing is dropped silently."""
        ...

    def rendition(self, answer: Answer) -> bytes:
        """Return the part of a reply that every reply with this answer has in common."""
        ...

    def render(self, entry: Entry, facts: Facts) -> bytes:
        """Return the whole reply's body."""
        ...

    def writer(self, ask: Ask) -> Writer:
        """Return a writer for one streamed reply."""
        ...

    def error(self, error: AskonceError, request_id: str) -> bytes:
        """Return an error's body."""
        ...
