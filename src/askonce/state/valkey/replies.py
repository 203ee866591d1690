"""What a server's errors mean."""

import logging

from askonce.domain.errors import StoreUnavailable
from askonce.state.valkey.server import away

# First words of errors that say the server cannot be used now, and what they mean to whoever runs it.
# https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors, and the server's sources
_MEANINGS = {
    "LOADING": "it is loading its data",
    "READONLY": "it is a replica, which cannot be written to",
    "MASTERDOWN": "it is a replica without its master",
    "OOM": "it has no memory left (see maxmemory and maxmemory-policy)",
    "MISCONF": "it cannot save to its disk and refuses writes",
    "NOREPLICAS": "it has too few replicas to take writes",
    "BUSY": "a script blocks it",
    "UNBLOCKED": "it became a replica",
    "CLUSTERDOWN": "the Cluster is down",
    "TRYAGAIN": "the Cluster is moving slots",
    "NOAUTH": "it wants a password: write it into STATE_URL",
    "WRONGPASS": "it refuses the user or the password of STATE_URL",
    "NOPERM": "its ACL does not let the user of STATE_URL do this",
}
# After these another server may be the one to ask.
_ELSEWHERE = {"READONLY", "MASTERDOWN", "UNBLOCKED", "LOADING"}

_log = logging.getLogger("askonce.state")


def meaning(text: str) -> str:
    """Return what an error means; "" for one that says a call was wrong."""
    for word, means in _MEANINGS.items():
        # A script's errors begin with the words of the command's that failed in it; older servers put them behind.
        if text.startswith(word) or f" {word} " in text or f" -{word} " in text:
            return means
    return ""


def refused(text: str) -> StoreUnavailable:
    """Make the error of a reply. One that says a call was wrong is a defect, and logged as such.

    With any other nothing was done: these are said before the first write of a script, or never.
    """
    means = meaning(text)
    if means:
        return away(means, unsent=True)
    _log.error("Valkey/Redis refused a call: %s", text)
    return away(f"it refused a call: {text[:200]}")


def is_elsewhere(text: str) -> bool:
    """Say whether the server that answered so should not be asked again."""
    return text.partition(" ")[0] in _ELSEWHERE
