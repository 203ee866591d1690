"""What routing decided, and why: the value that travels on with a question."""

from msgspec import Struct

from askonce.domain.call import Candidate, RoutingMode

MAX_CANDIDATES = 4  # each is one more look-up per request, and one more vendor that may be paid for a failure


class Considered(Struct, frozen=True):
    """Hold one who was thought of. `skipped` says why it is not asked, "" where it may be."""

    candidate: Candidate
    score: float | None = None
    skipped: str = ""


class Route(Struct, frozen=True):
    """Hold who may answer.

    `candidates`: whose stored answers will do, in order of preference; at most `MAX_CANDIDATES`. `considered`: all who
    were thought of; a candidate that is skipped there is not asked, though an answer that it once gave is taken.
    """

    mode: RoutingMode
    candidates: tuple[Candidate, ...]
    considered: tuple[Considered, ...] = ()
    allow_failover: bool = True

    @property
    def askable(self) -> tuple[Candidate, ...]:
        """Return the candidates that may be asked."""
        skipped = {one.candidate for one in self.considered if one.skipped}
        return tuple(candidate for candidate in self.candidates if candidate not in skipped)


class Tried(Struct, frozen=True):
    """Hold one attempt: who was asked with which of its keys (numbered from 1), and the error's code or "".

    `asked` is false where the question could not even be put: that shape has no words for it.
    """

    candidate: Candidate
    key: int
    took_ms: int
    error: str = ""
    asked: bool = True
