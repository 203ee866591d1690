"""Words that a database can hold: PostgreSQL has no NUL in texts, UTF-8 no half characters."""

from collections.abc import Iterable

_UNKNOWN = "\N{REPLACEMENT CHARACTER}"


def are_clean(words: Iterable[str]) -> bool:
    """Say whether all can be held as they are."""
    whole = "".join(set(words))
    if "\0" in whole:
        return False
    try:
        whole.encode()
    except UnicodeEncodeError:
        return False
    return True


def clean(word: str) -> str:
    """Replace what cannot be held."""
    return word.replace("\0", _UNKNOWN).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
