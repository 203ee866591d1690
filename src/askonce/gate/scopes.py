"""Who may do what: pure rules over what a key or a session holds. Deny by default; nothing here waits.

    root ─▶ admin ─▶ report        what a scope brings with it
    root ─▶ use

`admin` does not bring `use`: a key that makes keys need not be able to spend. What nobody holds is refused by name;
what belongs to another tenant is not there at all.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

from askonce.domain.caller import Caller
from askonce.domain.errors import Forbidden, NotFound, Unauthorized
from askonce.domain.identity import KeyCard, Scope, Standing

# What holding a scope allows.
ALLOWS: dict[Scope, frozenset[Scope]] = {
    "use": frozenset({"use"}),
    "report": frozenset({"report"}),
    "admin": frozenset({"admin", "report"}),
    "root": frozenset({"root", "admin", "report", "use"}),
}
# What holding a scope allows to give to others. An administrator of a tenant makes its members, never a root.
GIVES: dict[Scope, frozenset[Scope]] = {
    "use": frozenset(),
    "report": frozenset(),
    "admin": frozenset({"use", "report", "admin"}),
    "root": frozenset({"use", "report", "admin", "root"}),
}
# What each is for, in words that end a sentence.
_MEANING: dict[Scope, str] = {
    "use": "ask models",
    "report": "read reports",
    "admin": "administer a tenant",
    "root": "administer this installation",
}
_REMEMBERED = 4096  # lists of patterns and networks: as many as there are different keys in a busy hour

REVOKED = "This key was revoked. Ask the operator for a new one."
EXPIRED = "This key has expired. Ask the operator for a new one."
DISABLED = "The account of this key is disabled. Ask the operator."

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def holds(scopes: Iterable[Scope], needed: Scope) -> bool:
    """Say whether these scopes allow what needs `needed`."""
    return any(needed in ALLOWS[scope] for scope in scopes)


def require(scopes: Iterable[Scope], needed: Scope) -> None:
    """Raise `Forbidden`, naming the scope, unless they do."""
    if not holds(scopes, needed):
        raise Forbidden(f"This needs the scope '{needed}' ({_MEANING[needed]}). Use a key or login that has it.")


def require_grantable(scopes: Iterable[Scope], wanted: Iterable[Scope]) -> None:
    """Raise `Forbidden` where somebody wants to give what is not theirs to give."""
    held = tuple(scopes)
    for scope in wanted:
        if not any(scope in GIVES[own] for own in held):
            raise Forbidden(f"The scope '{scope}' ({_MEANING[scope]}) is not yours to give.")


def visible_tenant(scopes: Iterable[Scope], own: str, wanted: str) -> str:
    """Return the tenant to look at, "" for all of them (only root's). Raises `NotFound` for another's.

    `wanted` "" is the widest view: everything for root, the own tenant for all others.
    """
    if "root" in scopes:
        return wanted
    if wanted not in ("", own):
        raise NotFound(f"There is no tenant {wanted[:64]!r}.")
    return own


def require_standing(standing: Standing, now_ms: int) -> KeyCard:
    """Return the key if it is in force, and whom it belongs to too. Raises `Unauthorized` with the reason.

    Only who holds the key can hear the reason, so it tells nobody anything.
    """
    card = standing.card
    if card.revoked_ms and card.revoked_ms <= now_ms:
        raise Unauthorized(REVOKED)
    if card.expires_ms and card.expires_ms <= now_ms:
        raise Unauthorized(EXPIRED)
    if any(holder is not None and holder.disabled_ms for holder in (standing.user, standing.tenant)):
        raise Unauthorized(DISABLED)
    return card


def require_address(networks: tuple[str, ...], address: str) -> None:
    """Raise `Forbidden` unless the address lies in one of the networks; none allow all."""
    if networks and not _is_inside(networks, address):
        raise Forbidden(f"This key may not be used from the address {address[:64]}.")


def permits(card: KeyCard, provider: str, model: str) -> bool:
    """Say whether a key may ask this model of this provider."""
    return (not card.providers or _matches(card.providers, provider)) and (
        not card.models or _matches(card.models, model) or _matches(card.models, f"{provider}:{model}")
    )


def may_ask(caller: Caller, provider: str, model: str) -> bool:
    """Say whether a caller's key, if it has one, may ask this model of this provider."""
    return caller.standing is None or permits(caller.standing.card, provider, model)


def permitted(card: KeyCard, candidates: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return those candidates (provider, model) that the key may ask, in order. Raises `Forbidden` if that is none.

    This comes before the look-up: a stored answer of a model that the key may not ask is not its to have.
    """
    kept = tuple(candidate for candidate in candidates if permits(card, *candidate))
    if candidates and not kept:
        provider, model = candidates[0]
        raise Forbidden(
            f"This key may not ask {provider}:{model}. It may ask "
            f"{_listed(card.models, 'models')} of {_listed(card.providers, 'providers')}."
        )
    return kept


@lru_cache(maxsize=_REMEMBERED)
def _compiled(patterns: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Split patterns into exact names and beginnings (those that end in *)."""
    exact = frozenset(pattern for pattern in patterns if not pattern.endswith("*"))
    return exact, tuple(pattern[:-1] for pattern in patterns if pattern.endswith("*"))


def _matches(patterns: tuple[str, ...], name: str) -> bool:
    exact, beginnings = _compiled(patterns)
    return name in exact or name.startswith(beginnings)


@lru_cache(maxsize=_REMEMBERED)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


@lru_cache(maxsize=_REMEMBERED)
def _is_inside(networks: tuple[str, ...], text: str) -> bool:
    try:
        address: Address = ipaddress.ip_address(text)
    except ValueError:
        return False  # an address that nobody can read is in no network
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in _networks(networks))


def _listed(names: tuple[str, ...], all_of: str) -> str:
    return f"{', '.join(names)}" if names else f"all {all_of}"
