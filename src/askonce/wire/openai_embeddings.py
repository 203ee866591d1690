"""The OpenAI shape of embeddings (`POST /v1/embeddings`), as a door and towards a vendor. Pure.

Source: OpenAI's API reference, "Embeddings". An embedding is a question like any other: the same texts at the same
model are paid once. Texts are user messages, token lists are foreign parts; vectors are kept as the vendor sent them.
"""

from typing import Annotated, cast

import msgspec
from msgspec import Meta, Raw, Struct

from askonce.domain.answer import Answer, Entry
from askonce.domain.call import Aside, Ask, CacheWish, Call, Message, Params, RoutingWish
from askonce.domain.content import Foreign, canonical_json
from askonce.domain.errors import AskonceError, Detail, Invalid, Malformed, ProviderFailed
from askonce.domain.usage import Usage
from askonce.wire.door import Facts, Writer
from askonce.wire.openai_errors import openai_error

SHAPE = "openai"
NAME = "openai-embeddings/1"
VECTORS = "embeddings"  # the kind of the foreign part that holds the vectors
TOKENS = "tokens"
INPUTS_CEILING = 2048  # OpenAI's own bound on one request

_ASIDES = ("user",)
_KNOWN = ("model", "input", *_ASIDES)


class Body(Struct, frozen=True):
    """Hold what every embedding request has; other fields travel as they are."""

    model: Annotated[str, Meta(min_length=1, max_length=200)]
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: str | None = None
    dimensions: int | float | None = None
    user: str | None = None


class EmbeddingsCodec:
    """Translate embeddings, both ways. Never a stream."""

    name = NAME

    def read(self, body: bytes, tenant: str, wish: CacheWish) -> Ask:
        """Turn a body into a question. Raises `Malformed` and `Invalid`."""
        try:
            raw = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Malformed("The body is not valid JSON.") from None
        try:
            fields = msgspec.convert(raw, Body)
        except msgspec.ValidationError as error:
            raise Invalid(f"{error}.", details=[Detail(_place(error), str(error))]) from None
        extra = sorted((k, canonical_json(v)) for k, v in raw.items() if k not in _KNOWN and v is not None)
        call = Call(
            tenant=tenant,
            messages=_messages(fields.input),
            params=Params(),
            kind="embedding",
            shape=SHAPE,
            extra=tuple(extra),
            asides=() if fields.user is None else (Aside(("user",), canonical_json(fields.user)),),
        )
        return Ask(call=call, routing=RoutingWish(model=fields.model), cache=wish)

    def rendition(self, answer: Answer) -> bytes:
        """Encode the whole reply: nothing in it is one request's own."""
        usage = answer.usage
        counts = msgspec.json.encode({"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens})
        model = msgspec.json.encode(answer.model_version or answer.model)
        return b'{"object":"list","data":%b,"model":%b,"usage":%b}' % (vectors(answer), model, counts)

    def render(self, entry: Entry, facts: Facts) -> bytes:
        """Return the reply."""
        return entry.rendition if entry.shape == NAME else self.rendition(entry.open())

    def writer(self, ask: Ask) -> Writer:
        """Never called: `read` makes no streaming question."""
        raise NotImplementedError

    def error(self, error: AskonceError, request_id: str) -> bytes:
        """Return an error's body."""
        return openai_error(error)


def vectors(answer: Answer) -> bytes:
    """Return the vectors as JSON. Raises `ProviderFailed` for an answer without any."""
    for part in answer.parts:
        if isinstance(part, Foreign) and part.kind == VECTORS:
            return bytes(part.json)
    raise ProviderFailed(f"{answer.provider} answered without embeddings.")


def encode_embedding(call: Call, model: str) -> bytes:
    """Write the request's body for a vendor."""
    inputs = [_input(message) for message in call.messages]
    fields: dict[str, object] = {"model": model, "input": inputs[0] if len(inputs) == 1 else inputs}
    fields |= dict(call.extra)
    fields |= {str(aside.at[0]): aside.json for aside in call.asides}
    return msgspec.json.encode(fields)


class _Usage(Struct):
    prompt_tokens: int = 0


class _Reply(Struct):
    data: Raw
    model: str = ""
    usage: _Usage | None = None


def decode_embedding(body: bytes, who: str) -> tuple[Foreign, Usage | None, str]:
    """Read a vendor's reply: the vectors, what they cost, and the vendor's name of the model."""
    try:
        reply = msgspec.json.decode(body, type=_Reply)
    except (msgspec.DecodeError, UnicodeError):
        raise ProviderFailed(f"{who} sent an answer that makes no sense.") from None
    if not bytes(reply.data).startswith(b"["):
        raise ProviderFailed(f"{who} answered without embeddings.")
    usage = None if reply.usage is None else Usage(reply.usage.prompt_tokens, 0)
    return Foreign(SHAPE, VECTORS, Raw(bytes(reply.data))), usage, reply.model


def _messages(given: str | list[str] | list[int] | list[list[int]]) -> tuple[Message, ...]:
    if isinstance(given, str):
        items: list[str | list[int]] = [given]
    elif given and isinstance(given[0], int):
        items = [given]  # one list of tokens
    else:
        items = list(cast("list[str | list[int]]", given))
    if not items or len(items) > INPUTS_CEILING or not all(items):
        problem = f"must be 1 to {INPUTS_CEILING} texts or lists of tokens, none of them empty"
        raise Invalid(f"input {problem}.", details=[Detail("input", problem)])
    return tuple(
        Message("user", item if isinstance(item, str) else (Foreign(SHAPE, TOKENS, canonical_json(item)),))
        for item in items
    )


def _input(message: Message) -> object:
    if isinstance(message.content, str):
        return message.content
    part = message.content[0]
    if isinstance(part, Foreign) and part.kind == TOKENS:
        return part.json
    raise Invalid("Embeddings are made of texts or lists of tokens only.")


def _place(error: msgspec.ValidationError) -> str:
    return str(error).partition("`$.")[2].rstrip("`") or "body"
