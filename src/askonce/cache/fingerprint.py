"""When two calls are the same.

A fingerprint is SHA-256 over canonical JSON of: the format version, the tenant, the messages and every parameter that
was sent, followed by who answers. Strings count byte for byte (no Unicode normalisation), an absent parameter is not
its default, numbers are typed before they come here, so that 1 and 1.0 are one. What cannot change the answer is left
out: `stream` and the asides (`user`, `metadata`, `store`, `cache_control` and their like). A `service_tier` changes how
fast the answer comes and what it costs: stored answers serve all tiers, but calls in flight are joined within one.

A vendor's experiments that the caller switched on (`features`) are told to providers of the call's own shape only, so
they are part of the question there and nowhere else.

The JSON arrays delimit themselves, so that no two different calls give the same bytes.
"""

import functools
import hashlib
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from askonce.domain.call import Ask, Call, Candidate, ForeignTool, Tool
from askonce.domain.content import canonical_json

# Raise it when a change makes old keys mean something else; old entries are then never found again.
FORMAT = 1

# Where vendors are told how fast, and how dear, an answer is to be: it is the same answer.
TIER = ("service_tier",)
DEFAULT_TIER = Raw(b'"auto"')  # OpenAI's and Anthropic's: the same as nothing

_encoder = msgspec.json.Encoder(order="deterministic")


class Fingerprints(msgspec.Struct, frozen=True):
    """Hold a call's keys: `entries` one per candidate in the same order, `flight` for the question itself."""

    entries: tuple[bytes, ...]
    flight: bytes


def _asked(call: Call) -> tuple[object, ...]:
    """Return what makes a question, in the order in which it is hashed.

    A question of words alone has four parts, any other eight: arrays of different lengths are spelled differently.
    """
    params = call.params
    if params.format is not None:
        params = replace(params, format=replace(params.format, schema=_sorted(bytes(params.format.schema))))
    words = (FORMAT, call.tenant, call.messages, params)
    if not (call.tools or call.extra or call.kind != "chat"):
        return words
    return (*words, tuple(map(_tool, call.tools)), call.kind, call.shape if call.extra else "", call.extra)


def _tool(tool: Tool | ForeignTool) -> Tool | ForeignTool:
    if isinstance(tool, Tool):
        return replace(tool, schema=_sorted(bytes(tool.schema)))
    return replace(tool, json=_sorted(bytes(tool.json)))


# Tools come again with every turn of a conversation, so their sorted schemas are remembered: at most 16 MiB of them.
REMEMBERED = 512
REMEMBERED_BYTES = 16 << 10


def _sorted(json: bytes) -> Raw:
    """Sort the keys of a schema: it is sent as it came, but the order of keys makes no other question."""
    return _remembered(json) if len(json) <= REMEMBERED_BYTES else canonical_json(msgspec.json.decode(json))


@functools.lru_cache(maxsize=REMEMBERED)
def _remembered(json: bytes) -> Raw:
    return canonical_json(msgspec.json.decode(json))


def asked_digest(ask: Ask) -> bytes:
    """Return a digest (32 bytes) of what a caller asked and of whom, whoever is to answer."""
    told = (_asked(ask.call), ask.routing, ask.call.features) if ask.call.features else (_asked(ask.call), ask.routing)
    return hashlib.sha256(b"asked" + _encoder.encode(told)).digest()


def _who(call: Call, candidate: Candidate, shapes: Mapping[str, str]) -> tuple[object, ...]:
    who = (candidate.provider, candidate.model)
    hears = call.features and shapes.get(candidate.provider, call.shape) == call.shape
    return (*who, call.features) if hears else who


ANY_SHAPE: Mapping[str, str] = {}


def fingerprints(call: Call, candidates: Sequence[Candidate], shapes: Mapping[str, str] = ANY_SHAPE) -> Fingerprints:
    """Return the keys (32 bytes each) under which the answer may stand and the call is flown.

    `shapes`: in which shape each provider is asked; one that is not there may be told all.
    """
    question = hashlib.sha256(_encoder.encode(_asked(call)))
    entries = []
    flight = question.copy()
    names = [_encoder.encode(_who(call, candidate, shapes)) for candidate in candidates]
    for who in names:
        one = question.copy()
        one.update(who)
        entries.append(one.digest())
    # By the set of them: processes may prefer different ones at the same moment, and must meet all the same.
    for who in sorted(names):
        flight.update(who)
    for aside in call.asides:
        # Nobody is to wait as long as another is willing to, nor to pay for another's hurry.
        if aside.at == TIER and aside.json != DEFAULT_TIER:
            flight.update(aside.json)
    flight.update(b"flight")
    return Fingerprints(tuple(entries), flight.digest())
