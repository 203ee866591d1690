"""What may be asked for when keys, users and tenants are made or changed: checked whole, each wrong field named."""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from askonce.domain.accounts import KeyWish
from askonce.domain.errors import Detail, Invalid
from askonce.domain.identity import Bounds

NAME_LETTERS = 100  # for people; what is longer is not read
LIST_MAX = 100  # patterns or networks of one key: each costs at every request
PATTERN_LETTERS = 200
BUDGETS_MAX = 12  # three metrics by four spans
AMOUNT_MAX = 10**17  # a hundred million dollars in nano-dollars, with room left in 64 bits
CONCURRENCY_MAX = 100_000

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # as in ASKONCE_KEYS
_RESERVED = re.compile(r"anonymous|key-.*")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")


def refuse(problems: Iterator[Detail]) -> None:
    """Raise `Invalid` with all problems, if there are any."""
    details = tuple(problems)
    if details:
        raise Invalid("; ".join(f"{detail.field}: {detail.problem}" for detail in details) + ".", details=details)


def check_wish(wish: KeyWish, now_ms: int) -> None:
    """Raise `Invalid` for a key that cannot be made."""
    refuse(wrong_in_wish(wish, now_ms))


def wrong_in_wish(wish: KeyWish, now_ms: int) -> Iterator[Detail]:
    """Yield what is wrong with a key that is wished for."""
    yield from wrong_name("name", wish.name)
    if not wish.scopes:
        yield Detail("scopes", "a key without any may do nothing")
    yield from _wrong_patterns("models", wish.models)
    yield from _wrong_patterns("providers", wish.providers)
    yield from _wrong_networks(wish.addresses)
    yield from wrong_bounds(wish.bounds)
    if wish.expires_ms and wish.expires_ms <= now_ms:
        yield Detail("expires", "lies in the past; to end a key now, revoke it")


def wrong_name(field: str, name: str) -> Iterator[Detail]:
    """Yield what is wrong with a name that people read."""
    if not name.strip() or len(name) > NAME_LETTERS or not name.isprintable():
        yield Detail(field, f"1 to {NAME_LETTERS} printable letters are needed")


def wrong_tenant(tenant: str) -> Iterator[Detail]:
    """Yield what is wrong with a tenant's id."""
    if not _TENANT.fullmatch(tenant) or _RESERVED.fullmatch(tenant):
        yield Detail(
            "tenant", "1 to 64 letters, digits, '.', '_' or '-' are needed, and neither 'anonymous' nor 'key-…'"
        )


def wrong_email(email: str) -> Iterator[Detail]:
    """Yield what is wrong with an e-mail address that is not empty."""
    if email and not _EMAIL.fullmatch(email):
        yield Detail("email", "an address such as ada@example.org is needed")


def wrong_bounds(bounds: Bounds) -> Iterator[Detail]:
    """Yield what is wrong with budgets."""
    seen = [(budget.metric, budget.span) for budget in bounds.budgets]
    if len(seen) > BUDGETS_MAX or len(set(seen)) != len(seen):
        yield Detail("bounds", "one budget for each metric and span is enough")
    for budget in bounds.budgets:
        field = f"bounds.{budget.metric}.{budget.span}"
        if not 0 <= budget.amount <= AMOUNT_MAX:
            yield Detail(field, f"an amount from 0 to {AMOUNT_MAX} is needed")
        if not 0 <= budget.soft <= 1:
            yield Detail(field, "the soft share lies from 0 (no alert) to 1")
        if not _is_zone(budget.zone):
            yield Detail(field, f"there is no time zone {budget.zone[:64]!r}; name it as Europe/Zurich or UTC")
    if not 0 <= bounds.concurrency <= CONCURRENCY_MAX:
        yield Detail("bounds.concurrency", f"a number from 0 (any) to {CONCURRENCY_MAX} is needed")


def _wrong_patterns(field: str, patterns: Sequence[str]) -> Iterator[Detail]:
    if len(patterns) > LIST_MAX:
        yield Detail(field, f"at most {LIST_MAX}")
    for pattern in patterns:
        if not pattern or len(pattern) > PATTERN_LETTERS or "*" in pattern[:-1] or not pattern.isprintable():
            yield Detail(field, f"{pattern[:64]!r}: a name is needed, or a beginning followed by one '*'")


def _wrong_networks(networks: Sequence[str]) -> Iterator[Detail]:
    if len(networks) > LIST_MAX:
        yield Detail("addresses", f"at most {LIST_MAX}")
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            yield Detail("addresses", f"an address or network such as 10.0.0.0/8 is needed: {error}")


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False  # OSError: a name such as "Europe", which is a folder
    return True
