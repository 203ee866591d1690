"""What is asked of a model, free of any vendor's or door's shape."""

from typing import Literal

from msgspec import Struct

Role = Literal["system", "user", "assistant"]
RoutingMode = Literal["single-model", "manual", "heuristic", "cost-aware", "orchestrated"]
CacheMode = Literal["default", "refresh", "off", "only"]
Priority = Literal["quality", "speed", "cost"]


class Message(Struct, frozen=True, array_like=True):
    """Hold one turn of the conversation."""

    role: Role
    content: str


class Params(Struct, frozen=True, omit_defaults=True):
    """Hold the sampling parameters that were sent; `None` means absent, which is not the same as a default."""

    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None


class Call(Struct, frozen=True):
    """Hold one question: who may share its answer, what is asked, and how the answer travels.

    `tenant` is the only one that shares the answer. `stream` says how the upstream call is made; it is not part of
    what is asked.
    """

    tenant: str
    messages: tuple[Message, ...]
    params: Params
    stream: bool = False


class Candidate(Struct, frozen=True):
    """Name who could answer: a configured provider and the model as that provider calls it."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}:{self.model}"


class RoutingWish(Struct, frozen=True):
    """Hold what the caller said about who should answer."""

    mode: RoutingMode = "single-model"
    model: str | None = None
    active_provider: str | None = None
    allow_failover: bool = True
    capabilities: tuple[str, ...] = ()
    priority: Priority | None = None
    max_cost_nano: int | None = None


class CacheWish(Struct, frozen=True):
    """Hold what the caller said about the cache. `ttl_s`: keep so long; `max_age_s`: accept nothing older."""

    mode: CacheMode = "default"
    ttl_s: int | None = None
    max_age_s: int | None = None


class Ask(Struct, frozen=True):
    """Hold a whole request for an answer: the question, who should answer, and the wishes about the cache."""

    call: Call
    routing: RoutingWish
    cache: CacheWish
