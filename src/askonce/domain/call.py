"""What is asked of a model, free of any vendor's or door's shape."""

from typing import Literal

from msgspec import Raw, Struct

from askonce.domain.content import Part

Role = Literal["system", "developer", "user", "assistant", "tool"]
# What is asked for: words, or the vectors of texts.
Kind = Literal["chat", "embedding"]
RoutingMode = Literal["single-model", "manual", "heuristic", "cost-aware", "orchestrated"]
CacheMode = Literal["default", "refresh", "off", "only"]
Priority = Literal["quality", "speed", "cost"]


class Message(Struct, frozen=True, array_like=True):
    """Hold one turn of the conversation.

    Content that is a single text is a `str` (see `content.plain`), so that one meaning has one form. A result of a
    tool is a message of its own, role `tool`, with one `ToolResult`. `name` is OpenAI's name of a participant.
    """

    role: Role
    content: str | tuple[Part, ...]
    name: str = ""


class Tool(Struct, frozen=True, array_like=True, tag="tool"):
    """Describe a function that the model may call. `schema` is JSON as it came (`content.ordered_json`)."""

    name: str
    description: str
    schema: Raw
    strict: bool | None = None


class ForeignTool(Struct, frozen=True, array_like=True, tag="foreign"):
    """Hold a tool that only `shape` has (web search and the like), as JSON as it came."""

    shape: str
    kind: str
    json: Raw


class ToolChoice(Struct, frozen=True, array_like=True):
    """Say whether tools are to be called: `name` only with mode `named`."""

    mode: Literal["auto", "none", "required", "named"]
    name: str = ""


class Format(Struct, frozen=True, array_like=True):
    """Ask for JSON: any object, or one that fits `schema` (JSON as it came; with its name and strictness)."""

    kind: Literal["text", "json", "schema"]
    name: str = ""
    schema: Raw = Raw(b"null")
    strict: bool | None = None
    description: str = ""


class Reasoning(Struct, frozen=True, array_like=True):
    """Say how much the model may think: by `effort` (OpenAI's words) or by a budget of tokens (0: not at all)."""

    effort: str = ""
    budget_tokens: int | None = None


class Params(Struct, frozen=True, omit_defaults=True):
    """Hold the sampling parameters that were sent; `None` means absent, which is not the same as a default."""

    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    format: Format | None = None
    reasoning: Reasoning | None = None


class Aside(Struct, frozen=True):
    """Hold a field that cannot change the answer, as JSON: passed on to providers of its shape, ignored by others.

    `at` is where it stood: `("metadata",)`, or `("messages", 3, "content", 0, "cache_control")` by the positions in
    `Call.messages` and `Call.tools`.
    """

    at: tuple[str | int, ...]
    json: Raw


class Call(Struct, frozen=True):
    """Hold one question: who may share its answer, what is asked, and how the answer travels.

    `tenant` is the only one that shares the answer. `extra` holds fields that only `shape` knows, as canonical JSON
    sorted by name: part of the question. `asides` and `stream` are not: they cannot change the answer. `features` are a
    vendor's experiments that the caller switched on, sorted: part of the question too, though others ignore them.
    """

    tenant: str
    messages: tuple[Message, ...]
    params: Params
    stream: bool = False
    tools: tuple[Tool | ForeignTool, ...] = ()
    kind: Kind = "chat"
    shape: str = ""
    extra: tuple[tuple[str, Raw], ...] = ()
    asides: tuple[Aside, ...] = ()
    features: tuple[str, ...] = ()


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
    """Hold a whole request for an answer: the question, who should answer, and the wishes about the cache.

    `echo` is what the reply repeats of the request, as the door's own codec wrote it for itself. `retry_key` is the
    caller's name for this request, by which its retries are known; "" where there is none.
    """

    call: Call
    routing: RoutingWish
    cache: CacheWish
    echo: bytes = b""
    retry_key: str = ""
