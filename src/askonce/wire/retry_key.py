"""The header `Idempotency-Key`: a caller's own name for a request and its retries (Stripe's API; an IETF draft)."""

import re

from askonce.domain.errors import Detail, Invalid

NAME = "Idempotency-Key"
# What Stripe takes: long enough for any UUID with a prefix.
LONGEST = 255

_KEY = re.compile(rb"[ -~]{1,%d}" % LONGEST)


def read_retry_key(header: bytes) -> str:
    """Return the name as it was sent, quotes and all. Raises `Invalid`."""
    if _KEY.fullmatch(header) is None:
        problem = f"must be 1 to {LONGEST} printable ASCII characters, such as a UUID"
        raise Invalid(f"The header {NAME} {problem}.", details=[Detail(NAME, problem)])
    return header.decode("ascii")
