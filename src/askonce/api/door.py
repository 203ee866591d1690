"""What is said of one door: everything that guards it, everything that describes it."""

from typing import Literal

from msgspec import Struct

# What a caller must hold: nothing at all, any identity that is known here, or a scope of `domain.identity`.
Needed = Literal["open", "any", "use", "report", "admin", "root"]
LimitClass = Literal["llm", "standard", "none"]


class Also(Struct, frozen=True):
    """Describe another success of a door: its status, when it comes, and its body."""

    status: int
    says: str
    reply: type[Struct] | None = None


class Door(Struct, frozen=True):
    """Describe one door.

    `scope` `open` needs no identity (the few such doors hold nothing of anybody's), `any` whichever; `limit` names the
    window that a request is counted in. `body`, `query` and `reply` are the types that are checked and documented.
    `errors` are the codes that this door adds to those that every door can answer with. `status` is that of success,
    `also` are others. `takes` is what a body is written in.
    """

    method: str
    path: str
    name: str
    summary: str
    scope: Needed = "use"
    limit: LimitClass = "standard"
    body: type[Struct] | None = None
    query: type[Struct] | None = None
    reply: type[Struct] | None = None
    media: str = "application/json"
    deep: bool = False  # may `{key}` hold slashes?
    errors: tuple[str, ...] = ()
    stream: tuple[tuple[str, str], ...] = ()  # events of a streamed reply: name, what it holds
    status: int = 200
    also: tuple[Also, ...] = ()
    takes: str = "application/json"
    outlives: bool = False  # does the work go on whatever becomes of its request?
