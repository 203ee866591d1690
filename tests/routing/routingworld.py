"""What routing looks at, made by hand."""

from collections.abc import Collection
from typing import Any

from askonce.domain.call import Ask, CacheWish, Call, Candidate, Message, Params, RoutingWish
from askonce.domain.money import Price, Rate
from askonce.routing.health import Health
from askonce.routing.modes import MODES, Sight
from askonce.routing.roster import Member, Roster
from askonce.routing.route import Route


class HandClock:
    """Tell the time that the test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def steady_ns(self) -> int:
        return int(self.now_s * 1e9)

    def wall_ms(self) -> int:
        return int(self.now_s * 1e3)


def price(dollars: float) -> Price:
    return Price(Rate(int(dollars * 1e9)), Rate(int(dollars * 1e9)))


class TellLore:
    """Know what it is told, by model."""

    names_awaited = False

    def __init__(self) -> None:
        self.prices: dict[str, float] = {}
        self.windows: dict[str, int] = {}
        self.can: dict[str, str] = {}

    def price(self, provider: str, model: str, version: str) -> Price | None:
        return price(self.prices[model]) if model in self.prices else None

    async def loaded(self) -> None:
        """Know everything from the start."""

    def context_window(self, provider: str, model: str, features: Collection[str] = ()) -> int | None:
        return self.windows.get(model)

    def abilities(self, provider: str, model: str) -> frozenset[str]:
        return frozenset(self.can.get(model, "").split())

    def room(self, provider: str) -> int | None:
        return 4


class Stage:
    """Set the stage for a mode: providers a to f, each with one model of the same letter."""

    def __init__(self, letters: str = "abcdef", **wishes: Any) -> None:
        self.clock = HandClock()
        self.health = Health(self.clock)
        self.lore = TellLore()
        self.roster = Roster(tuple(Member(c, c.upper(), True, "", f"m{c}", (f"m{c}",)) for c in letters), **wishes)

    def choose(self, mode: Any, call: Call | None = None, **wish: Any) -> Route:
        ask = Ask(call or words("hello"), RoutingWish(mode, **wish), CacheWish())
        return MODES[ask.routing.mode].choose(ask, Sight(self.roster, self.lore, self.health))

    def order(self, mode: Any, call: Call | None = None, **wish: Any) -> str:
        return "".join(one.provider for one in self.choose(mode, call, **wish).candidates)


def words(text: str, **params: Any) -> Call:
    return Call("t", (Message("user", text),), Params(**params))


def who(letter: str) -> Candidate:
    return Candidate(letter, f"m{letter}")
