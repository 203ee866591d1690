"""Which names in the settings nobody would answer to. Asked once, when all that is known of models has been read."""

from collections.abc import Iterator

from askonce.domain.errors import AskonceError
from askonce.routing.resolve import by_name
from askonce.routing.roster import Roster


def unanswered(roster: Roster) -> Iterator[tuple[str, str, str]]:
    """Yield setting, name and reason of the default model and of every alias that a request could not use."""
    named = {"default_model": roster.default_model}
    named |= {f"[aliases] {alias}": name for alias, name in roster.aliases.items()}
    for key, name in named.items():
        try:
            if name:
                by_name(name, roster)
        except AskonceError as error:
            yield key, name, error.message
