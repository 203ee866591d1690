"""Look at the names of models that the owner wrote into the settings, before anybody asks for them.

Nothing here is refused: a name may belong to a model that is younger than this version, and what stands before a colon
may be a part of the name (`llama3.2:1b`). What names a provider, or nearly does, can be judged.
"""

import difflib
from collections.abc import Collection

from askonce.providers.catalog import LOCAL, VENDORS

_LIKENESS = 0.75  # `opnai` is a slip, `llama3.2` is no slip for anything


def doubt(name: str, configured: Collection[str]) -> str:
    """Return what is doubtful of `provider:model`, or "" for nothing. `configured` are the names of the providers."""
    head, colon, _ = name.partition(":")
    if not colon or head in configured or head == LOCAL:
        return ""
    known = [*(vendor.name for vendor in VENDORS), *configured]
    if head in known:
        return f"{head} is not configured"
    near = difflib.get_close_matches(head, known, n=1, cutoff=_LIKENESS)
    return f"there is no provider {head!r}; did you mean {near[0]!r}?" if near else ""
