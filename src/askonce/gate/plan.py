"""What is needed to answer one question, decided before anything is paid."""

from msgspec import Struct

from askonce.cache.fingerprint import Fingerprints
from askonce.domain.call import Ask, CacheMode, Candidate
from askonce.domain.ports import Promise, Shape
from askonce.routing.route import Route


class Plan(Struct, frozen=True):
    """Hold a question with its keys and who may answer it.

    Entries stored before `fresh_after_ms` (epoch milliseconds) are too old for it. `promise` is what is promised to
    retries of its request.
    """

    ask: Ask
    mode: CacheMode
    route: Route
    keys: Fingerprints
    fresh_after_ms: int
    shape: Shape
    request_id: str
    promise: Promise | None = None

    @property
    def is_alone(self) -> bool:
        """Say that nobody may join: the cache is off for it, and there is no name by which a retry would be known."""
        return self.mode == "off" and self.promise is None

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Return those whose answers are looked for, as many as `keys.entries` and in the same order."""
        return self.route.candidates

    @property
    def tenant(self) -> str:
        """Return who shares the answer."""
        return self.ask.call.tenant
