"""The OpenAI shape of embeddings (`POST /v1/embeddings`), as a door and towards a vendor. Pure.

Source: OpenAI's API reference, "Create embeddings". An embedding is a question like any other: the same texts at the
same model are paid once. Decisions:
- Texts are user messages and lists of tokens foreign parts; a single input and a list of one are the same question.
- `encoding_format` says how the numbers travel. The vendor is asked with the one that was asked for, and the answer
  serves both (`wire.vectors`), so it is no part of the question. That holds for plain questions: beside a field that
  we do not know (Mistral's `output_dtype`), it may mean something else; it is then part of the question, and the rows
  are passed on as they came.
- There is no default model, because vectors of two models cannot be compared, and there are no streams.
"""

from typing import Any, cast

import msgspec
from msgspec import Raw, Struct

from askonce.domain.answer import Answer, Entry
from askonce.domain.call import Aside, Ask, CacheWish, Call, Message, Params, RoutingWish
from askonce.domain.content import Foreign, canonical_json
from askonce.domain.errors import AskonceError, Invalid, Malformed, ProviderFailed
from askonce.domain.usage import Usage
from askonce.wire.door import Facts, Writer
from askonce.wire.openai_errors import openai_error
from askonce.wire.openai_parts import Findings
from askonce.wire.vectors import SHAPE, Encoding, part_of, rows_of

NAME = "openai-embeddings/1"
TOKENS = "tokens"
INPUTS_CEILING = 2048  # OpenAI's own bound on one request
NAME_CEILING = 200  # as of the other doors: twice the longest model's name

ENCODING = "encoding_format"
_BESIDE = ("metadata", "safety_identifier", "user")  # they cannot change the answer
_PLAIN = frozenset(("dimensions",))  # what a question may hold for its encoding to be ours to translate
_NO_MODEL = "is needed: name the model that makes the embeddings, as in text-embedding-3-small; there is no default"


class EmbeddingBody(Struct, frozen=True):
    """Describe the body of POST /v1/embeddings for the docs; other fields are passed on to the vendor."""

    model: str
    input: str | list[str | int | list[int]]
    encoding_format: str | None = None
    dimensions: int | None = None
    user: str | None = None


class EmbeddingRow(Struct, frozen=True):
    """Hold one vector: numbers, or base64 of 32-bit floats."""

    object: str
    index: int
    embedding: list[float] | str


class EmbeddingUsage(Struct, frozen=True):
    """Hold the tokens of the inputs."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Struct, frozen=True):
    """Describe the reply for the docs; `render` writes these very fields."""

    object: str
    data: list[EmbeddingRow]
    model: str
    usage: EmbeddingUsage


class EmbeddingsCodec:
    """Translate embeddings, both ways. Never a stream."""

    name = NAME

    def read(self, body: bytes, tenant: str, wish: CacheWish) -> Ask:
        """Turn a body into a question. Raises `Malformed`, and `Invalid` with everything that is wrong."""
        try:
            raw = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise Malformed("The body is not valid JSON. Send a JSON object with a model and an input.") from None
        if not isinstance(raw, dict):
            raise Invalid("The body must be a JSON object.")
        return _ask({name: value for name, value in raw.items() if value is not None}, tenant, wish)

    def rendition(self, answer: Answer) -> bytes:
        """Return nothing: the vectors are most of a reply, and stand in the answer already."""
        return b""

    def render(self, entry: Entry, facts: Facts) -> bytes:
        """Return the reply, in the encoding that was asked for."""
        answer = entry.open()
        rows = rows_of(answer, _wanted(facts.ask.call))
        tokens = answer.usage.prompt_tokens
        model = msgspec.json.encode(answer.model_version or answer.model)
        usage = b'{"prompt_tokens":%d,"total_tokens":%d}' % (tokens, tokens)
        return b'{"object":"list","data":%b,"model":%b,"usage":%b}' % (rows, model, usage)

    def writer(self, ask: Ask) -> Writer:
        """Never called: `read` makes no question that streams."""
        raise NotImplementedError

    def error(self, error: AskonceError, request_id: str) -> bytes:
        """Return an error's body."""
        return openai_error(error, request_id)


EMBEDDINGS = EmbeddingsCodec()


def encode_embedding(call: Call, model: str) -> bytes:
    """Write the request's body for a vendor."""
    inputs = [_input(message) for message in call.messages]
    fields: dict[str, object] = {"model": model, "input": inputs[0] if len(inputs) == 1 else inputs}
    fields |= dict(call.extra)
    fields |= {str(aside.at[0]): aside.json for aside in call.asides if len(aside.at) == 1}
    return msgspec.json.encode(fields)


class _Usage(Struct):
    prompt_tokens: int = 0
    total_tokens: int = 0


class _Reply(Struct):
    data: Raw
    model: str | None = None
    usage: _Usage | None = None


_replies = msgspec.json.Decoder(_Reply)


def decode_embedding(body: bytes, count: int, who: str) -> tuple[Foreign, Usage | None, str]:
    """Read a vendor's reply to so many inputs: the vectors, what they cost (None: it does not say), its model's name.

    Raises `ProviderFailed` for what is no such reply.
    """
    try:
        reply = _replies.decode(body)
    except (msgspec.DecodeError, UnicodeError):
        raise ProviderFailed(f"{who} sent an answer that makes no sense.") from None
    said = reply.usage
    usage = None if said is None else Usage(said.prompt_tokens or said.total_tokens, 0)
    if usage is not None and (not usage.prompt_tokens or not usage.is_possible):
        usage = None
    return part_of(reply.data, count, who), usage, reply.model or ""


def _ask(fields: dict[str, Any], tenant: str, wish: CacheWish) -> Ask:
    findings = Findings()
    model = fields.pop("model", None)
    if not isinstance(model, str) or not model.strip() or len(model) > NAME_CEILING:
        findings.wrong("model", _NO_MODEL)
    messages = _messages(fields.pop("input", None), findings)
    if fields.pop("stream", False) is not False:
        findings.wrong("stream", "must be left out: embeddings come whole")
    if "dimensions" in fields and not _is_size(fields["dimensions"]):
        findings.wrong("dimensions", "must be a whole number from 1")
    for name in _BESIDE:
        if name in fields:
            findings.beside((name,), fields.pop(name))
    if ENCODING in fields and not isinstance(fields[ENCODING], str):
        findings.wrong(ENCODING, "must be float or base64")
    elif fields.get(ENCODING) in ("float", "base64") and fields.keys() <= _PLAIN | {ENCODING}:
        findings.beside((ENCODING,), fields.pop(ENCODING))
    findings.refuse()
    call = Call(
        tenant=tenant,
        messages=messages,
        params=Params(),
        kind="embedding",
        shape=SHAPE,
        extra=tuple((name, canonical_json(fields[name])) for name in sorted(fields)),
        asides=tuple(findings.asides),
    )
    return Ask(call, RoutingWish(model=model), wish)


def _messages(given: object, findings: Findings) -> tuple[Message, ...]:
    alone = _is_text(given) or _is_tokens(given)
    items: list[object] = [given] if alone else given if isinstance(given, list) else []
    if 0 < len(items) <= INPUTS_CEILING and all(_is_text(item) or _is_tokens(item) for item in items):
        return tuple(map(_message, items))
    findings.wrong("input", f"must be a text, a list of tokens, or a list of 1 to {INPUTS_CEILING} of them, none empty")
    return ()


def _is_size(value: object) -> bool:
    return (type(value) is int or (isinstance(value, float) and value.is_integer())) and value >= 1


def _is_text(item: object) -> bool:
    return isinstance(item, str) and bool(item)


def _is_tokens(item: object) -> bool:
    return isinstance(item, list) and bool(item) and all(type(one) is int and one >= 0 for one in item)


def _message(item: object) -> Message:
    return Message("user", item if isinstance(item, str) else (Foreign(SHAPE, TOKENS, canonical_json(item)),))


def _input(message: Message) -> object:
    """Return an input as it was sent; only this door makes such calls, so that nothing else can stand there."""
    return message.content if isinstance(message.content, str) else cast(Foreign, message.content[0]).json


def _wanted(call: Call) -> Encoding | None:
    """Return the encoding that a question wants its reply in, None for the one in which it came."""
    if any(name not in _PLAIN for name, _ in call.extra):
        return None
    return "base64" if any(_is_base64(aside) for aside in call.asides) else "float"


def _is_base64(aside: Aside) -> bool:
    return aside.at == (ENCODING,) and bytes(aside.json) == b'"base64"'
