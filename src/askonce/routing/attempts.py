"""What may be tried again, where, and after what pause. Pure; nothing is asked here.

- Nothing is tried again once a piece was passed on: its caller does not get a mixture.
- The same endpoint is tried once more after a connection that broke or a 5xx, after a jittered pause.
- Another key of the provider is tried where the vendor refused or slowed this one.
- Another candidate is tried for everything that is no fault of the question.
- Whom health says to leave alone (breaker open, `Retry-After` not over) is passed over.

Where nobody answers, the caller is told what a retry can change, if anything (see `gate.dispatch.Journey.verdict`).
"""

import math
from collections.abc import Callable, Sequence

from askonce.domain.call import Candidate
from askonce.domain.errors import (
    AskonceError,
    ContextExceeded,
    Invalid,
    ModelUnavailable,
    ProviderBusy,
    ProviderDenied,
    ProviderFailed,
    ProviderUnavailable,
    UnknownModel,
)
from askonce.routing.health import Health, Target

# Four candidates once, and two more for keys and broken connections; beyond, the caller is better told.
MAX_ATTEMPTS = 6
SAME_AGAIN = 1  # how often one endpoint is tried again after it broke off
# The pause before the same endpoint is asked again: uniform from half of it to the whole, doubled for each attempt.
PAUSE_S = 0.25
MAX_PAUSE_S = 4.0

# What another candidate may end differently, although the very same would not.
_ELSEWHERE = (ProviderDenied, UnknownModel, ModelUnavailable, Invalid, ContextExceeded)


def is_last_word(error: AskonceError) -> bool:
    """Say whether a failure is about the question, so that nobody else is asked."""
    return not (error.retryable or isinstance(error, _ELSEWHERE))


class Attempts:
    """Choose whom to ask next. `dice` returns uniform numbers from 0 to 1."""

    def __init__(self, targets: Sequence[Target], health: Health, dice: Callable[[], float]) -> None:
        self._all = list(targets)
        self._left = list(targets)
        self._unasked = list(targets)
        self._no_room = False
        self._health = health
        self._dice = dice
        self._made = 0
        self._broken: dict[Candidate, int] = {}

    def next(self) -> Target | None:
        """Return whom to ask now, None if there is nobody (left)."""
        if self._made >= MAX_ATTEMPTS:
            return None
        return next(filter(self.may_ask, self._left), None)

    def may_ask(self, target: Target) -> bool:
        """Say whether health lets a target be asked at this moment."""
        return self._health.wait_s(target) == 0

    def made(self, target: Target) -> None:
        """Count an attempt that begins."""
        self._made += 1
        self._unasked = [one for one in self._unasked if one != target]

    def pass_over(self, target: Target) -> None:
        """Leave out all that is asked at a provider that has no room: nobody waits for it twice."""
        self._no_room = True
        self._left = [one for one in self._left if one.candidate.provider != target.candidate.provider]

    def after(self, target: Target, error: AskonceError) -> float | None:
        """Take a failed attempt in. Return the pause (seconds) before whoever is next, None if that was the end."""
        pause_s = 0.0
        if is_last_word(error):
            self._end_with(target)
        elif isinstance(error, ProviderBusy | ProviderDenied):
            self._left.remove(target)
        elif type(error) is ProviderFailed and not error.retry_after_s and self._may_repeat(target.candidate):
            # The same endpoint first: a connection that broke is more often an accident than an outage.
            pause_s = min(PAUSE_S * 2.0 ** (self._made - 1), MAX_PAUSE_S) * (0.5 + self._dice() / 2)
        else:
            self._drop(target.candidate)
        following = self.next()
        if following is None:
            return None
        return pause_s if following == target else 0.0

    def refusal(self) -> AskonceError | None:
        """Say why somebody was not asked who can be asked later; None where there is nobody like that."""
        waits = {target: wait_s for target in self._unasked if (wait_s := self._health.wait_s(target))}
        if not waits:
            words = "Every place at the providers is taken. Ask again in a moment."
            return ProviderUnavailable(words, retry_after_s=1) if self._no_room else None
        soonest = max(1, math.ceil(min(waits.values())))
        names = ", ".join(dict.fromkeys(str(target.candidate) for target in waits))
        if all(self._health.is_open(target.candidate) for target in waits):
            words = f"Left alone for a moment after failing again and again: {names}. Ask again later."
            return ProviderUnavailable(words, retry_after_s=soonest)
        words = f"Left alone until the time that the provider named: {names}. Ask again later."
        return ProviderBusy(words, retry_after_s=soonest)

    def _may_repeat(self, candidate: Candidate) -> bool:
        self._broken[candidate] = self._broken.get(candidate, 0) + 1
        return self._broken[candidate] <= SAME_AGAIN

    def _drop(self, candidate: Candidate) -> None:
        self._left = [target for target in self._left if target.candidate != candidate]
        self._unasked = [target for target in self._unasked if target.candidate != candidate]

    def _end_with(self, target: Target) -> None:
        """Ask nobody any more. Who was to be asked before, and was left alone, may still answer another time."""
        before = self._all[: self._all.index(target)]
        self._unasked = [one for one in self._unasked if one in before and one.candidate != target.candidate]
        self._left.clear()
