"""Budgets as people write them, for the command line and for administration.

    10$/day                        $2.50/hour                  1000 requests/hour
    $10/day@Europe/Berlin          1.5M tokens/month           $500/month soft 50%

An amount of something, a period of the calendar, then, if wanted, the zone in which its days and months begin (else
UTC) and the share at which to alert (`soft`, else 80 %; 0 % for never). Amounts know `k`, `M` and `B`, and `_` between
digits. Commas are refused: half the world means a thousand by them.
"""

import re
from collections.abc import Sequence
from decimal import Decimal

from askonce.domain.errors import Detail, Invalid
from askonce.domain.identity import Bounds, Budget, Metric, Span
from askonce.domain.money import NANO_PER_DOLLAR

TEXT_LETTERS = 200  # no budget is nearly as long; patterns are not tried on more
CURE = "write it as $10/day, 1M tokens/month@Europe/Berlin or '1000 requests/hour soft 50%'"

_AMOUNT = r"(?P<amount>\d[\d_]*(?:\.\d+)?)\s*(?P<factor>[kKMB])?"
_DOLLARS = r"(?:\$|dollars?\b|usd\b)"
_BUDGET = re.compile(
    rf"(?P<before>\$)?\s*{_AMOUNT}\s*(?:(?P<dollars>{_DOLLARS})|(?P<metric>tokens?|requests?)\b)?"
    r"\s*(?:/|\bper\b)\s*(?P<span>minute|hour|day|month)"
    r"(?:\s*@\s*(?P<zone>[A-Za-z0-9_+/-]+))?"
    r"(?:\s*,?\s*soft\s*(?:at\s*)?(?P<soft>\d+(?:\.\d+)?)\s*%)?"
)
_FACTORS = {None: 1, "k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9}
_METRICS: dict[str, Metric] = {"token": "tokens", "request": "requests"}
_SPANS: dict[str, Span] = {"minute": "minute", "hour": "hour", "day": "day", "month": "month"}
_DEFAULT = Budget("requests", "minute", 0)


def parse_budget(text: str) -> Budget:
    """Read one budget. Raises `Invalid` with the cure; whether its zone exists is for who keeps it to say."""
    match = _BUDGET.fullmatch(text.strip()) if len(text) <= TEXT_LETTERS else None
    if match is None:
        raise _wrong(text, CURE)
    paid = bool(match["before"]) + bool(match["dollars"])
    if paid > 1 or paid + bool(match["metric"]) != 1:
        raise _wrong(text, f"one of dollars, tokens or requests is needed; {CURE}")
    metric: Metric = "nano_dollars" if paid else _METRICS[match["metric"].rstrip("s")]
    amount = Decimal(match["amount"]) * _FACTORS[match["factor"]] * (NANO_PER_DOLLAR if paid else 1)
    if amount != int(amount):
        smallest = "a billionth of a dollar" if paid else f"one of the {metric}"
        raise _wrong(text, f"nothing smaller than {smallest} is counted")
    soft = float(Decimal(match["soft"]) / 100) if match["soft"] else _DEFAULT.soft
    return Budget(metric, _SPANS[match["span"]], int(amount), match["zone"] or _DEFAULT.zone, soft)


def parse_budgets(texts: Sequence[str]) -> tuple[Budget, ...]:
    """Read budgets; `none` alone is none of them. Raises `Invalid`."""
    if [text.strip().lower() for text in texts] == ["none"]:
        return ()
    return tuple(parse_budget(text) for text in texts)


def write_budget(budget: Budget) -> str:
    """Write a budget so that `parse_budget` reads the same."""
    zone = "" if budget.zone == _DEFAULT.zone else f"@{budget.zone}"
    share = (Decimal(str(budget.soft)) * 100).normalize()
    soft = "" if budget.soft == _DEFAULT.soft else f" soft {share:f}%"
    return f"{write_amount(budget.metric, budget.amount)}/{budget.span}{zone}{soft}"


def write_amount(metric: Metric, amount: int) -> str:
    """Write an amount exactly: `$2.5`, `1500 tokens`, `1 request`."""
    if metric != "nano_dollars":
        return f"{amount} {metric if amount != 1 else metric[:-1]}"
    return f"${(Decimal(amount) / NANO_PER_DOLLAR).normalize():f}"


def write_bounds(bounds: Bounds) -> tuple[str, ...]:
    """Write all budgets, and how many calls may be in flight at once where that is bounded."""
    at_once = (f"{bounds.concurrency} at once",) if bounds.concurrency else ()
    return (*map(write_budget, bounds.budgets), *at_once)


def _wrong(text: str, problem: str) -> Invalid:
    shown = ascii(text[:60])
    return Invalid(f"The budget {shown} cannot be read: {problem}.", details=(Detail("budget", problem),))
