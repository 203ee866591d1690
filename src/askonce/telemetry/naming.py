"""Which models are told by their names: callers can make names up, and every name is a series."""

from collections.abc import Callable

from askonce.telemetry.meters import OTHER

Named = Callable[[str, str], str]  # what a provider's model is told as


def bounded(known: Callable[[str, str], bool], most: int) -> Named:
    """Return how models are told: by their names, as many as `most`, if they are known; else as `other`."""
    names: dict[tuple[str, str], str] = {}

    def name(provider: str, model: str) -> str:
        found = names.get((provider, model))
        if found is None:
            if len(names) >= most or not known(provider, model):
                return OTHER
            found = names[provider, model] = model
        return found

    return name
