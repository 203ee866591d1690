"""Signatures of what is posted to webhooks.

    X-Askonce-Signature: t=1634567890,v1=5257a869…

`t` is when it was sent, in seconds; `v1` the hexadecimal HMAC-SHA-256 over `t`, a dot and the body. While a former
secret is kept beside the new one there is a `v1` of each. Receivers that refuse what is minutes old, and remember ids
for as long, are safe from whoever sends again what they overheard.
"""

import hashlib
import hmac
from collections.abc import Sequence

SIGNATURE = "X-Askonce-Signature"


def sign(keys: Sequence[bytes], at_s: int, body: bytes) -> str:
    """Write the signature's header."""
    signed = b"%d." % at_s + body
    return ",".join([f"t={at_s}", *(f"v1={hmac.new(key, signed, hashlib.sha256).hexdigest()}" for key in keys)])


def signed_headers(keys: Sequence[bytes], at_s: int, body: bytes) -> tuple[tuple[str, str], ...]:
    """Return the headers of a signed body of JSON."""
    return (("Content-Type", "application/json"), (SIGNATURE, sign(keys, at_s, body)))
