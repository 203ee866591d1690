"""What is needed to answer one question, decided before anything is paid."""

from msgspec import Struct

from askonce.cache.fingerprint import Fingerprints
from askonce.domain.call import Ask, CacheMode, Candidate
from askonce.domain.ports import Shape


class Plan(Struct, frozen=True):
    """Hold a question with its keys and those who may answer it, in order of preference.

    Entries stored before `fresh_after_ms` (epoch milliseconds) are too old for it.
    """

    ask: Ask
    mode: CacheMode
    candidates: tuple[Candidate, ...]
    keys: Fingerprints
    fresh_after_ms: int
    shape: Shape
    request_id: str

    @property
    def tenant(self) -> str:
        """Return who shares the answer."""
        return self.ask.call.tenant
