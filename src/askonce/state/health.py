"""How shared state is, for /ready."""

from msgspec import Struct

CROWDED_OUTBOX = 0.7  # of its bound: from here on counters wait outside of it


class Health(Struct, frozen=True):
    """Say what does not work (part: reason) and what is worth knowing."""

    degraded: dict[str, str]
    notes: tuple[str, ...] = ()


def crowded(fullness: float) -> str:
    """Return what is wrong with an outbox that is so full, "" for nothing."""
    if fullness < CROWDED_OUTBOX:
        return ""
    return f"{fullness:.0%} of its room are taken by what the ledger has not got yet; is the worker running?"
