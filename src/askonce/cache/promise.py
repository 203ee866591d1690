"""A caller's own name for a request, so that its retries are the same request.

The name counts for one caller only: who else uses it, of the same tenant or of another, means something else. It
stands for one question; how the answer travels, and what the cache is to do with it, is no part of that.
"""

import hashlib

import msgspec
from msgspec import Struct

from askonce.cache.fingerprint import asked_digest
from askonce.domain.call import Ask
from askonce.domain.ports import Promise

# How long a finished request's answer is told again. Stripe's API, whose header this is, keeps its keys as long.
PROMISED_S = 24 * 3600
# The same where the cache was to be left alone: long enough for a client that tries again, and no longer.
PROMISED_OFF_S = 600


class _Named(Struct, frozen=True, array_like=True):
    tenant: str
    identity: str
    name: str


def promise_of(ask: Ask, identity: str) -> Promise | None:
    """Return what is promised to the retries of a request; None for one that its caller has not named."""
    if not ask.retry_key:
        return None
    named = _encoder.encode(_Named(ask.call.tenant, identity, ask.retry_key))
    # The words in front keep these digests apart from fingerprints, which are made of JSON alone.
    return Promise(hashlib.sha256(b"promise" + named).digest(), asked_digest(ask))


def own_flight(promise: Promise) -> bytes:
    """Return the key of a flight that only retries of one request join."""
    return hashlib.sha256(b"flight of a promise" + promise.key + promise.question).digest()


_encoder = msgspec.json.Encoder()
