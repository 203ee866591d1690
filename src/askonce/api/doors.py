"""The one table of doors. What is not in it does not exist; what is in it is guarded as its row says."""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from askonce.api import bodies
from askonce.api.admin.rows import ADMIN_DOORS
from askonce.api.door import Door
from askonce.api.session_rows import SESSION_DOORS
from askonce.api.workflows.rows import WORK_DOORS
from askonce.domain.errors import Detail, Invalid
from askonce.wire.anthropic_door import MessageReply, TokenCount
from askonce.wire.anthropic_read import CountBody, MessagesBody
from askonce.wire.model_lists import ModelObject, ModelObjects, ModelsQuery
from askonce.wire.native import GenerateBody
from askonce.wire.openai_door import ChatBody
from askonce.wire.openai_embeddings import EmbeddingBody, EmbeddingList
from askonce.wire.openai_reply import ChatCompletion
from askonce.wire.responses_door import ResponsesBody
from askonce.wire.responses_reply import ResponseReply
from askonce.wire.strict import unknown_field

_STREAM = (
    ("start", "requestId, cache, provider, model: the answer begins"),
    ("delta", "text: the next piece of the model's words"),
    ("file", "path, language, content: a file that is complete; a later one of the same path replaces it"),
    ("done", "the whole answer, as without streaming: the last event"),
    ("error", "the error body: the last event of a stream that broke"),
)
_CHUNKS = (
    ("(unnamed)", "a chat.completion.chunk; with stream_options.include_usage the last one holds the usage"),
    ("(unnamed) [DONE]", "the end"),
    ("(unnamed) error", "the error body: the last event of a stream that broke"),
)
_MESSAGE_EVENTS = (
    ("message_start", "the message, still empty"),
    ("content_block_start, content_block_delta, content_block_stop", "one block of text, thinking or a tool call"),
    ("message_delta", "why it stopped, and the usage"),
    ("message_stop", "the end"),
    ("ping", "the stream lives"),
    ("error", "the error body: the last event of a stream that broke"),
)
_ASKING = (
    "malformed_request invalid_request idempotency_key_reused max_cost_exceeded context_window_exceeded "
    "content_refused provider_rejected_request unknown_model cache_miss body_too_large unsupported_media_type "
    "request_timeout provider_error provider_auth_failed provider_rate_limited provider_unavailable "
    "provider_not_configured model_loading model_unavailable provider_timeout draining flight_lost"
)

_COUNTING = (
    "malformed_request invalid_request context_window_exceeded provider_rejected_request unknown_model body_too_large "
    "unsupported_media_type request_timeout provider_error provider_auth_failed provider_rate_limited "
    "provider_not_configured provider_timeout store_unavailable"
)

DOORS: tuple[Door, ...] = (
    Door(
        "POST",
        "/llm/generate",
        "generate",
        "Turn a prompt into code; the same question again is free.",
        limit="llm",
        body=GenerateBody,
        reply=bodies.Generated,
        errors=tuple(_ASKING.split()),
        stream=_STREAM,
    ),
    Door(
        "POST",
        "/v1/chat/completions",
        "chat_completions",
        "Answer a conversation, in OpenAI's shape; the same question again is free.",
        limit="llm",
        body=ChatBody,
        reply=ChatCompletion,
        errors=tuple(_ASKING.split()),
        stream=_CHUNKS,
    ),
    Door(
        "POST",
        "/v1/responses",
        "responses",
        "Answer a conversation, in the shape of OpenAI's Responses, without its memory; the same question is free.",
        limit="llm",
        body=ResponsesBody,
        reply=ResponseReply,
        errors=tuple(_ASKING.split()),
    ),
    Door(
        "POST",
        "/v1/messages",
        "messages",
        "Answer a conversation, in Anthropic's shape; the same question again is free.",
        limit="llm",
        body=MessagesBody,
        reply=MessageReply,
        errors=tuple(_ASKING.split()),
        stream=_MESSAGE_EVENTS,
    ),
    Door(
        "POST",
        "/v1/embeddings",
        "embeddings",
        "Make vectors of texts, in OpenAI's shape; the same texts again are free.",
        limit="llm",
        body=EmbeddingBody,
        reply=EmbeddingList,
        errors=tuple(_ASKING.split()),
    ),
    Door(
        "POST",
        "/v1/messages/count_tokens",
        "count_tokens",
        "Count the tokens of a prompt, in Anthropic's shape; free.",
        body=CountBody,
        reply=TokenCount,
        errors=tuple(_COUNTING.split()),
    ),
    Door(
        "GET",
        "/llm/cache/stats",
        "cache_stats",
        "Count hits, misses and what was saved.",
        "any",
        reply=bodies.CacheStats,
        errors=("store_unavailable",),
    ),
    Door(
        "GET",
        "/llm/cache/entries",
        "cache_entries",
        "List stored answers.",
        query=bodies.EntriesQuery,
        reply=bodies.EntryList,
        errors=("invalid_request", "store_unavailable"),
    ),
    Door(
        "GET",
        "/llm/cache/entries/{key}",
        "cache_entry",
        "Look inside a stored answer.",
        reply=bodies.EntryWhole,
        errors=("not_found", "store_unavailable"),
    ),
    Door(
        "DELETE",
        "/llm/cache/entries/{key}",
        "drop_entry",
        "Forget one stored answer.",
        reply=bodies.Deleted,
        errors=("not_found", "store_unavailable"),
    ),
    Door(
        "DELETE",
        "/llm/cache",
        "purge_cache",
        "Forget stored answers.",
        query=bodies.PurgeQuery,
        reply=bodies.Deleted,
        errors=("invalid_request", "store_unavailable"),
    ),
    Door(
        "GET",
        "/v1/models",
        "model_list",
        "List what can be asked, in OpenAI's shape; with the header anthropic-version in Anthropic's.",
        "any",
        query=ModelsQuery,
        reply=ModelObjects,
        errors=("invalid_request",),
    ),
    Door(
        "GET",
        "/v1/models/{key}",
        "model_object",
        "Look at one model, in the same shapes.",
        "any",
        reply=ModelObject,
        errors=("unknown_model",),
        deep=True,
    ),
    Door("GET", "/llm/models", "models", "List what can be asked now.", "any", reply=bodies.ModelList),
    Door("GET", "/llm/providers", "providers", "List providers and how they are.", "any", reply=bodies.ProviderList),
    *WORK_DOORS,
    *SESSION_DOORS,
    *ADMIN_DOORS,
    Door("GET", "/health", "health", "Say that this process is alive.", "open", "none", reply=bodies.Health),
    Door("GET", "/ready", "ready", "Say whether each part can serve.", "open", "none", reply=bodies.Readiness),
    Door("GET", "/metrics", "metrics", "Tell Prometheus how this node is.", "open", "none", media="text/plain"),
    Door("GET", "/openapi.json", "openapi", "Describe these doors to programs.", "open", "none"),
    Door("GET", "/docs", "docs", "Describe these doors to people.", "open", "none", media="text/html"),
    Door("GET", "/", "root", "Lead a browser to the dashboard, or to the docs.", "open", "none"),
    Door("GET", "/ui", "ui_root", "Lead to the dashboard.", "open", "none", media="text/html"),
    Door("GET", "/ui/", "ui", "Show the dashboard.", "open", "none", media="text/html", errors=("not_found",)),
    Door(
        "GET",
        "/ui/{key}",
        "ui_page",
        "Show one of its pages, or an asset of theirs.",
        "open",
        "none",
        media="text/html",
        errors=("not_found",),
        deep=True,
    ),
)


class Match(Struct, frozen=True):
    """Hold a found door and the part of the path that its `{key}` stands for."""

    door: Door
    key: str = ""


class DoorMap:
    """Find doors by method and path; another spelling of a path is no door at all."""

    def __init__(self, doors: tuple[Door, ...]) -> None:
        self._exact = {(d.method, d.path): Match(d) for d in doors if "{" not in d.path}
        self._keyed = {(d.method, *d.path.split("{key}")): d for d in doors if "{" in d.path}
        self._deep = [door.path.partition("{")[0] for door in doors if door.deep]
        self._tails = {door.path.partition("{key}")[2] for door in doors if "{" in door.path} - {""}
        self._methods = tuple(dict.fromkeys(door.method for door in doors))

    def find(self, method: str, path: str) -> Match | None:
        """Return the door, or None."""
        match = self._exact.get((method, path))
        if match is not None:
            return match
        for before, key, behind in self._split(path):
            door = self._keyed.get((method, before, behind))
            if door is not None and key and "\0" not in key:
                return Match(door, key)
        return None

    def methods(self, path: str) -> list[str]:
        """Return the methods that a path has; none if there is no such path."""
        exact = [method for method, known in self._exact if known == path]
        return exact or [method for method in self._methods if self.find(method, path) is not None]

    def _split(self, path: str) -> Iterator[tuple[str, str, str]]:
        """Part a path at what may be its key."""
        for prefix in self._deep:
            if path.startswith(prefix):
                yield prefix, path.removeprefix(prefix), ""
                return
        head, slash, key = path.rpartition("/")
        yield head + slash, key, ""
        tail = slash + key
        if tail in self._tails:
            head, slash, key = head.rpartition("/")
            yield head + slash, key, tail


def read_query(kind: type[Struct], query: bytes) -> Struct:
    """Turn a query string into `kind`. Raises `Malformed` and `Invalid`, which names every field that is wrong.

    A field without a value is refused: a script whose variable is empty must not mean everything.
    """
    fields = bodies.query_fields(query)
    known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    problems = [unknown_field(name, known) for name in fields if name not in known]
    for name in fields.keys() & known.keys():
        if not fields[name]:
            problems.append(Detail(name, "has no value: leave it out, or give it one"))
            continue
        if "\0" in fields[name]:
            problems.append(Detail(name, "holds a NUL"))
            continue
        try:
            msgspec.convert(fields[name], known[name].type, strict=False)
        except msgspec.ValidationError:
            problems.append(Detail(name, f"cannot be {fields[name][:40]!r}: {_KINDS.get(name, 'give another value')}"))
    if problems:
        raise Invalid("; ".join(f"{p.field} {p.problem}" for p in problems) + ".", details=problems)
    return msgspec.convert(fields, kind, strict=False)


_KINDS = {
    "olderThan": "give whole seconds, such as 3600",
    "limit": "give a number from 1 to 500",
    "after": "give the next of the page before",
    "format": "give json or csv",
}
