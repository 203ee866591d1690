"""Which names in the settings nobody would answer to. Asked once, when all that is known of models has been read."""

from collections.abc import Iterator

from askonce.domain.errors import AskonceError
from askonce.routing.resolve import by_name
from askonce.routing.roster import Roster


def unanswered(roster: Roster) -> Iterator[tuple[str, str, str]]:
    """Yield setting, name and reason of the default model and of every alias that a request could not use."""
    if problem := _problem(roster.default_model, roster):
        yield "default_model", roster.default_model, problem
    for alias, name in roster.aliases.items():
        problem = _problem(name, roster)
        if problem and _problem(name, roster.of("embedding")):
            yield f"[aliases] {alias}", name, problem


def _problem(name: str, roster: Roster) -> str:
    try:
        if name:
            by_name(name, roster)
    except AskonceError as error:
        return error.message
    return ""
