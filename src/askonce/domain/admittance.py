"""Who may log in by an identity provider without having been invited: rules of the configuration, the first that fits.

    @example.org=acme:use              whoever has a verified address there
    groups:llm-admins=acme:admin       whoever's claim `groups` is or holds that word
    *=guests:use                       everybody whom the provider knows

A rule speaks once, at the first login; later it is administrators who change what somebody may do.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from msgspec import Struct

from askonce.domain.accounts import Claims
from askonce.domain.identity import Scope

_RULE = re.compile(
    r"(?:@(?P<domain>[A-Za-z0-9.-]+)|(?P<claim>[A-Za-z0-9_./-]+):(?P<value>[^=]+)|(?P<all>\*))"
    r"=(?P<tenant>[A-Za-z0-9][A-Za-z0-9._-]{0,63})(?::(?P<scopes>[a-z+]+))?"
)
_SCOPES: tuple[Scope, ...] = get_args(Scope)


class Rule(Struct, frozen=True):
    """Let in who has an address of `domain`, or whose `claim` holds `value`; all three empty: everybody."""

    tenant: str
    scopes: tuple[Scope, ...] = ("use",)
    domain: str = ""
    claim: str = ""
    value: str = ""

    def fits(self, claims: Claims, told: Mapping[str, Any]) -> bool:
        """Say whether it means them."""
        if self.domain:
            return claims.email.lower().rpartition("@")[2] == self.domain
        if self.claim:
            held = told.get(self.claim)
            return self.value in held if isinstance(held, list) else str(held) == self.value and held is not None
        return True


def read_rule(text: str) -> Rule:
    """Read a rule. Raises `ValueError` with what was expected."""
    match = _RULE.fullmatch(text.strip())
    scopes = tuple(dict.fromkeys((match["scopes"] or "use").split("+"))) if match else ()
    if match is None or any(scope not in _SCOPES for scope in scopes):
        raise ValueError(
            "rules such as @example.org=acme:use or groups:llm-admins=acme:use+admin, the scopes being of "
            f"{', '.join(_SCOPES)}"
        )
    chosen = tuple(scope for scope in _SCOPES if scope in scopes)
    return Rule(match["tenant"], chosen, (match["domain"] or "").lower(), match["claim"] or "", match["value"] or "")


def admitted(rules: Sequence[Rule], claims: Claims, told: Mapping[str, Any]) -> Rule | None:
    """Return the first rule that means them."""
    return next((rule for rule in rules if rule.fits(claims, told)), None)
