"""Whom to prefer: one formula over price, speed, health and load.

    good  = ln(1 + price) ÷ ln(1 + dearest)       a vendor's own word on how good its model is: what it asks for it
    fast  = quickest ÷ seconds                    seconds = first token + 500 tokens at the measured pace
    cheap = (cheapest + 0.01) ÷ (price + 0.01)
    score = (good·G + fast·F + cheap·C) × (1 − failing) × (1 − load ÷ 2)

`price` is in dollars per million tokens, three of the prompt for one of the answer, as code is asked for. The weights
G, F, C are those of the priority. Not known: good 0.5, cheap 0; speed as of an ordinary hosted model. `failing` is the
moving share of failures, `load` the part of the provider's places that is taken.
"""

import math
from collections.abc import Sequence

from msgspec import Struct

from askonce.domain.call import Candidate, Priority
from askonce.domain.money import NANO_PER_DOLLAR, Price
from askonce.routing.health import UNMEASURED, Pace

ANSWER_TOKENS = 500  # a middling answer, to weigh the first token against the pace
PLACES = 32  # what a provider without a cap is taken to bear before it slows down
_CENT = 0.01  # keeps free models comparable

# How much good, fast and cheap count.
WEIGHTS: dict[Priority | None, tuple[float, float, float]] = {
    "quality": (0.8, 0.1, 0.1),
    "speed": (0.1, 0.8, 0.1),
    "cost": (0.1, 0.1, 0.8),
    None: (0.4, 0.3, 0.3),
}


class Traits(Struct, frozen=True):
    """Hold what counts of one candidate. `load` from 0 to 1."""

    candidate: Candidate
    price: Price | None
    pace: Pace = UNMEASURED
    load: float = 0.0

    @property
    def dollars(self) -> float | None:
        """Return dollars per million tokens."""
        if self.price is None:
            return None
        nano = (3 * self.price.input.nano_per_mtok + self.price.output.nano_per_mtok) / 4
        return nano / NANO_PER_DOLLAR

    @property
    def seconds(self) -> float:
        """Return how long an answer takes."""
        return self.pace.first_token_ms / 1000 + ANSWER_TOKENS / max(self.pace.tokens_per_s, 0.1)


def scores(field: Sequence[Traits], priority: Priority | None) -> list[float]:
    """Return each one's score from 0 to 1, against the others of the field."""
    known = [dollars for one in field if (dollars := one.dollars) is not None]
    cheapest, dearest = min(known, default=0.0), max(known, default=0.0)
    quickest = min((one.seconds for one in field), default=1.0)
    good, fast, cheap = WEIGHTS[priority]
    return [
        (good * _good(one.dollars, dearest) + fast * quickest / one.seconds + cheap * _cheap(one.dollars, cheapest))
        * (1 - one.pace.failing)
        * (1 - min(one.load, 1.0) / 2)
        for one in field
    ]


def _good(dollars: float | None, dearest: float) -> float:
    if dollars is None or not dearest:
        return 0.5
    return math.log1p(dollars) / math.log1p(dearest)


def _cheap(dollars: float | None, cheapest: float) -> float:
    return 0.0 if dollars is None else (cheapest + _CENT) / (dollars + _CENT)
