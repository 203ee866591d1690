"""Google's batchEmbedContents, as a client speaks it. Pure.

Source: Google's "Gemini API reference", "Embeddings", version v1beta (`models.batchEmbedContents`): one request for
each text, `outputDimensionality` for OpenAI's `dimensions`, and an embedding for each in the same order. What else a
question may hold (lists of tokens, other fields) is refused by name before anything is paid.
"""

import msgspec
from msgspec import Raw, Struct

from askonce.domain.call import Call
from askonce.domain.content import Foreign
from askonce.domain.errors import ProviderFailed
from askonce.domain.usage import Usage
from askonce.wire.gemini_contents import Json, Unsayable
from askonce.wire.vectors import part_of_numbers


def encode_embedding(call: Call, name: str) -> bytes:
    """Write the request's body; `name` is the model's resource name, `models/…`. Raises `Invalid`."""
    unsayable = Unsayable()
    options: Json = {}
    for field, value in call.extra:
        if field == "dimensions":
            options["outputDimensionality"] = value
        else:
            unsayable.add(field, f"is a field that only the shape {call.shape} has")
    requests = []
    for index, message in enumerate(call.messages):
        if not isinstance(message.content, str):
            unsayable.add(f"input[{index}]", "is a list of tokens, which only OpenAI's own models read: send the text")
            continue
        requests.append({"model": name, "content": {"parts": [{"text": message.content}]}} | options)
    unsayable.refuse(name)
    return msgspec.json.encode({"requests": requests})


class _Vector(Struct):
    values: Raw


class _Counts(Struct, rename="camel"):
    prompt_token_count: int = 0


class _Reply(Struct, rename="camel"):
    embeddings: list[_Vector]
    usage_metadata: _Counts | None = None


_replies = msgspec.json.Decoder(_Reply)


def decode_embedding(body: bytes, count: int, who: str) -> tuple[Foreign, Usage | None]:
    """Read the reply to so many texts: the vectors, and their tokens where Google says. Raises `ProviderFailed`."""
    try:
        reply = _replies.decode(body)
    except (msgspec.DecodeError, UnicodeError):
        raise ProviderFailed(f"{who} sent embeddings that make no sense.") from None
    if len(reply.embeddings) != count:
        raise ProviderFailed(f"{who} sent {len(reply.embeddings)} embeddings for {count} inputs.")
    said = reply.usage_metadata
    usage = Usage(said.prompt_token_count, 0) if said is not None and said.prompt_token_count > 0 else None
    return part_of_numbers([vector.values for vector in reply.embeddings], who), usage
