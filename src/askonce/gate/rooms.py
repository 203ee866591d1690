"""How many calls a provider may have in the air at once, from this process."""

import asyncio
from collections.abc import Mapping

# How long a question waits for a place before another candidate is asked, or its caller told to come again: about an
# ordinary answer's time, within which a place is likely to become free.
PLACE_WAIT_S = 10.0
# How many may wait for one provider. Beyond, the last of them would wait longer than that.
MAX_WAITING = 256


class Rooms:
    """Hand out places, first come first served. `most`: places by a provider's name; others have no bound."""

    def __init__(self, most: Mapping[str, int]) -> None:
        self._places = {name: asyncio.Semaphore(count) for name, count in most.items()}
        self._waiting = dict.fromkeys(most, 0)

    async def enter(self, provider: str, left_s: float) -> bool:
        """Take a place; False if none came free within the bound and within `left_s`. If cancelled, none is taken."""
        places = self._places.get(provider)
        if places is None:
            return True
        if places.locked() and self._waiting[provider] >= MAX_WAITING:
            return False
        self._waiting[provider] += 1
        try:
            async with asyncio.timeout(min(PLACE_WAIT_S, left_s)):
                await places.acquire()
        except TimeoutError:
            return False
        finally:
            self._waiting[provider] -= 1
        return True

    def leave(self, provider: str) -> None:
        """Give a place back."""
        places = self._places.get(provider)
        if places is not None:
            places.release()
