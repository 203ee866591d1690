"""How the name of a model becomes a candidate.

- `gpt-4o` is looked for among the known models, those of configured providers first.
- `openai:gpt-4o` names the provider too. Only what stands before the first colon counts, and only if it is a
  provider's name: `llama3.2:1b` is a name, `ollama:llama3.2:1b` is that name at Ollama.
- An alias stands for either, or for a group. Aliases of aliases are not followed.
- A group stands for its members that are configured.
- A name that several configured providers know, without a provider's name: all of them, in their order.
- Without a name: the owner's default model, else the defaults of the configured providers, in their order.
"""

import difflib
import re
from collections.abc import Iterable, Sequence

from msgspec import Struct

from askonce.domain.call import Candidate
from askonce.domain.errors import (
    AskonceError,
    Detail,
    Invalid,
    ModelUnavailable,
    ProviderNotConfigured,
    UnknownModel,
)
from askonce.routing.roster import Group, Member, Roster

MAX_NAME_CHARS = 200  # the longest names of models have about 80
MAX_COMPARED = 400  # names compared for a suggestion; each costs some 20 µs
LIKENESS = 0.6  # difflib's own threshold for "close"

# What vendors put behind a name for one state of a model: a date, or the word for the newest.
VERSION = re.compile(r"-(?:20\d\d-?[01]\d-?[0-3]\d|[01]\d[0-3]\d|latest)$")


class Pool(Struct, frozen=True):
    """Hold whom a name stands for, in order of preference; with weights if the order is to be drawn by them."""

    candidates: tuple[Candidate, ...]
    weights: tuple[float, ...] = ()


def by_name(name: str, roster: Roster) -> Pool:
    """Resolve a model's name. Raises `UnknownModel`, `ProviderNotConfigured`, `Invalid`."""
    name = roster.aliases.get(name, name)
    group = roster.groups.get(name)
    if group is not None:
        return _members(group, roster)
    return Pool(_of_model(name, roster))


def leads(name: str, roster: Roster) -> bool:
    """Say whether `by_name` finds somebody; look for no nearest name where it does not. Raises `Invalid` as it does."""
    name = roster.aliases.get(name, name)
    group = roster.groups.get(name)
    if group is None:
        return _is_led(name, roster)
    led = [_is_led(roster.aliases.get(share.model, share.model), roster) for share in group.members]
    return any(led)  # all were looked at: one that is invalid makes the group so


def by_default(roster: Roster) -> Pool:
    """Choose who answers when nobody is named. Raises `ProviderNotConfigured` if there is nobody at all.

    Raises `Invalid` for embeddings: those of two models cannot be compared, so that each is to be named.
    """
    if roster.kind != "chat":
        problem = "is needed: name the model that makes the embeddings; there is no default"
        raise Invalid(f"model {problem}.", details=[Detail("model", problem)])
    if roster.default_model:
        return by_name(roster.default_model, roster)
    first = first_default(roster)
    if first is None and roster.configured:
        raise _nothing_known(roster.configured)
    if first is None:
        cures = [member.cure for member in roster.members if member.cure][:1]
        raise ProviderNotConfigured(" ".join(["No provider is configured.", *(f"To begin, {cure}." for cure in cures)]))
    return Pool(tuple(dict.fromkeys((first, *defaults(roster)))))


def by_names(names: Iterable[str], roster: Roster) -> Pool:
    """Return all whom the names stand for that are configured. Raises as `by_name` where nobody is."""
    found: list[Candidate] = []
    missing: AskonceError | None = None
    for name in names:
        try:
            found += by_name(name, roster).candidates
        except (ProviderNotConfigured, UnknownModel) as error:
            missing = missing or error
    if missing is not None and not found:
        raise missing
    return Pool(tuple(dict.fromkeys(found)))


def defaults(roster: Roster) -> tuple[Candidate, ...]:
    """Return the default models of all configured providers that may stand in for others."""
    return tuple(Candidate(m.name, default_of(m)) for m in roster.configured if m.stands_in and default_of(m))


def _of_model(name: str, roster: Roster) -> tuple[Candidate, ...]:
    head, colon, rest = name.partition(":")
    if colon and (member := roster.member(head)):
        if not rest:
            problem = f"names the provider {head} and no model: write {head}:MODEL, or send activeProvider"
            raise Invalid(f"model {problem}.", details=[Detail("model", problem)])
        return (at_member(rest, member, roster),)
    knowing = [member for member in roster.members if _knows(member, name)]
    configured = tuple(Candidate(member.name, name) for member in knowing if member.configured)
    if knowing and not configured:
        raise not_configured(knowing[0], roster)
    if not configured:
        _refuse_unfit(name, roster.configured, roster)
        raise _unknown(name, [], roster)
    return configured


def _is_led(name: str, roster: Roster) -> bool:
    head, colon, rest = name.partition(":")
    member = roster.member(head) if colon else None
    if member is not None and rest:
        if member.configured:
            _refuse_unfit(rest, [member], roster)
        return member.configured and (member.open_ended or _knows(member, rest))
    if member is not None:
        return bool(_of_model(name, roster))
    knowing = [one for one in roster.members if _knows(one, name)]
    if not knowing:
        _refuse_unfit(name, roster.configured, roster)
    return any(one.configured for one in knowing)


def _members(group: Group, roster: Roster) -> Pool:
    """Return a group's members that are configured. Raises as `by_name` where none is."""
    found: dict[Candidate, float] = {}
    missing: AskonceError | None = None
    for share in group.members:
        try:
            candidates = _of_model(roster.aliases.get(share.model, share.model), roster)
        except (ProviderNotConfigured, UnknownModel) as error:
            missing = missing or error
        else:
            found.setdefault(candidates[0], share.weight)
    if missing is not None and not found:
        raise missing
    return Pool(tuple(found), tuple(found.values()) if group.strategy == "weighted" else ())


def _nothing_known(members: Sequence[Member]) -> ModelUnavailable:
    """Say why nobody answers although somebody is configured: endpoints of one's own tell what they have, or do not."""
    titles, first = ", ".join(member.title for member in members), members[0].name
    return ModelUnavailable(
        f"{titles}: configured, but no model is known there: it lists none, or cannot be reached (GET /llm/providers "
        f"says which). Name one as {first}:MODEL, or set default_model for it.",
        retry_after_s=5,
    )


def at_member(name: str, member: Member, roster: Roster) -> Candidate:
    """Resolve the name of a model at a provider that was named; "" is its default. Raises as `by_name`."""
    if not member.configured:
        raise not_configured(member, roster)
    name = name or default_of(member)
    if not name:
        message = f"{member.title} has no default model: name one, as in {member.name}:MODEL."
        raise Invalid(message, details=[Detail("model", message)])
    _refuse_unfit(name, [member], roster)
    if not (member.open_ended or _knows(member, name)):
        raise _unknown(name, [member], roster)
    return Candidate(member.name, name)


def named_provider(name: str, roster: Roster) -> Member:
    """Find the provider that a request names. Raises `Invalid` with the nearest."""
    member = roster.member(name)
    if member is None:
        near = nearest(name, [member.name for member in roster.members])
        hint = f" Did you mean {near!r}?" if near else ""
        message = f"There is no provider {name[:MAX_NAME_CHARS]!r}.{hint}"
        raise Invalid(message, details=[Detail("activeProvider", message)])
    return member


def not_configured(member: Member, roster: Roster) -> ProviderNotConfigured:
    """Build the error that says how to configure a provider, and which model works now."""
    working = first_default(roster)
    how = f": {member.cure}." if member.cure else "."
    also = f" The model {working} works now." if working else ""
    return ProviderNotConfigured(f"{member.title} is not configured{how}{also}")


def first_default(roster: Roster) -> Candidate | None:
    """Return the default of the first configured provider that has one."""
    return next((Candidate(m.name, default_of(m)) for m in roster.configured if default_of(m)), None)


def default_of(member: Member) -> str:
    """Return a provider's default model: the one set, else the first that it is known to have, else ""."""
    return member.default_model or next(iter(member.models), "")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like this one, if any is; the cost is bounded by `MAX_COMPARED`."""
    name = name[:MAX_NAME_CHARS].lower()
    by_lower = {candidate.lower(): candidate for candidate in known}
    compared: Sequence[str] = list(by_lower)
    if len(compared) > MAX_COMPARED:
        # Names that begin alike and are about as long are the likely ones.
        compared = sorted(compared, key=lambda other: (other[:2] != name[:2], abs(len(other) - len(name))))
    found = difflib.get_close_matches(name, compared[:MAX_COMPARED], n=1, cutoff=LIKENESS)
    return by_lower[found[0]] if found else None


def _knows(member: Member, name: str) -> bool:
    return name == member.default_model or name in member.also or _lists(member.models, name)


def _lists(names: Sequence[str], name: str) -> bool:
    """Say whether a name is in a list, or is a state of one that is."""
    if name in names:
        return True
    plain = VERSION.sub("", name)
    return plain != name and plain in names


def _refuse_unfit(name: str, members: Sequence[Member], roster: Roster) -> None:
    """Raise `Invalid` for a model that is known to be of another kind than what is asked for."""
    if any(_lists(member.unfit, name) and not _knows(member, name) for member in members):
        problem = _without_words(name) if roster.kind == "chat" else _without_vectors(name, roster)
        raise Invalid(problem, details=[Detail("model", problem)])


def _without_words(name: str) -> str:
    return f"{name} makes embeddings and answers no questions: it is asked by POST /v1/embeddings."


def _without_vectors(name: str, roster: Roster) -> str:
    """Name what makes embeddings here, else the first who would once it is configured."""
    able = [str(Candidate(member.name, default_of(member))) for member in roster.configured if default_of(member)]
    cures = [member.cure for member in roster.members if member.models and member.cure]
    cure = f"Models that do: {', '.join(able)}." if able else f"To have one that does, {cures[0]}." if cures else ""
    return f"{name} answers in words and makes no embeddings. {cure}".rstrip()


def _unknown(name: str, members: Sequence[Member], roster: Roster) -> UnknownModel:
    """Name the nearest: what can be asked now comes before what could be configured."""
    shown = name if len(name) <= MAX_NAME_CHARS else name[:MAX_NAME_CHARS] + "…"
    configured = members or roster.configured
    names = [model for member in configured for model in (member.default_model, *member.models) if model]
    others = [model for member in roster.members for model in member.models] if not members else []
    near = nearest(name, [*names, *roster.aliases, *roster.groups]) or nearest(name, others)
    hint = f" The nearest is {near!r}." if near else ""
    head, colon, _ = name.partition(":")
    meant = nearest(head, [member.name for member in roster.members]) if colon and not members else None
    if meant:
        hint = f" No provider is called {head!r}; did you mean {meant!r}?"
    return UnknownModel(
        f"No provider is known to have a model {shown!r}.{hint} GET /llm/models lists what can be asked; "
        "PROVIDER:MODEL asks a provider for a model that is not listed."
    )
