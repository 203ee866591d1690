"""A routing decision in words: `metadata.routing`, and the header `X-Askonce-Route`."""

import functools
from collections.abc import Sequence
from urllib.parse import quote

import msgspec
from msgspec import Struct

from askonce.domain.call import Candidate
from askonce.domain.money import dollars
from askonce.routing.route import Route, Tried


class CandidateField(Struct, frozen=True, omit_defaults=True):
    """Tell of one who was thought of."""

    provider: str
    model: str
    score: float | None = None
    skipped: str = ""


class AttemptField(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Tell of one who was asked; `error` is the code of how that failed, left out for the one who answered."""

    provider: str
    model: str
    took_ms: int
    key: int = 1
    error: str = ""


class RoutingField(Struct, frozen=True, omit_defaults=True):
    """Hold `metadata.routing`."""

    mode: str
    chosen: str
    candidates: tuple[CandidateField, ...]
    attempts: tuple[AttemptField, ...] | None = None  # left out where others asked
    warnings: tuple[str, ...] = ()


def explanation(route: Route, chosen: Candidate, attempts: Sequence[Tried] | None, spent_nano: int | None) -> str:
    """Return `metadata.routing` as JSON. `spent_nano`: what is over the caller's `maxCost`, None if nothing is."""
    if not attempts and spent_nano is None:
        return _plain(route, chosen, attempts is None)
    warnings = () if spent_nano is None else (f"The call cost {dollars(spent_nano, 6)}, which is over maxCost.",)
    return _written(route, chosen, attempts, warnings)


def header(chosen: Candidate, attempts: int | None) -> bytes:
    """Return the value of `X-Askonce-Route`; letters that no header can hold are percent-encoded."""
    if attempts is None:
        return _name(chosen)
    return b"%b; attempts=%d" % (_name(chosen), attempts)


@functools.lru_cache(maxsize=1024)
def _name(candidate: Candidate) -> bytes:
    return quote(str(candidate), safe="!#$&'()*+,/:<=>?@[]^`{|}").encode("ascii")


@functools.lru_cache(maxsize=1024)
def _plain(route: Route, chosen: Candidate, elsewhere: bool) -> str:
    return _written(route, chosen, None if elsewhere else (), ())


def _written(route: Route, chosen: Candidate, attempts: Sequence[Tried] | None, warnings: tuple[str, ...]) -> str:
    field = RoutingField(
        mode=route.mode,
        chosen=str(chosen),
        candidates=tuple(
            CandidateField(
                one.candidate.provider,
                one.candidate.model,
                None if one.score is None else round(one.score, 3),
                one.skipped,
            )
            for one in route.considered
        ),
        attempts=None
        if attempts is None
        else tuple(
            AttemptField(one.candidate.provider, one.candidate.model, one.took_ms, one.key, one.error)
            for one in attempts
        ),
        warnings=warnings,
    )
    return msgspec.json.encode(field).decode()
