"""Any endpoint that speaks OpenAI's shape, asked for embeddings too (`POST {base}/embeddings`), as a `Provider`.

The rules of `chat` hold. An embedding is a plain call: it comes whole, and its first byte is its last.
"""

import time
from collections.abc import AsyncIterator

from askonce.domain.answer import Answer, Piece
from askonce.domain.call import Call
from askonce.domain.content import Foreign
from askonce.domain.errors import unsent
from askonce.domain.usage import Usage
from askonce.providers.chat import ChatProvider
from askonce.providers.tokens import estimate
from askonce.wire.openai_embeddings import decode_embedding, encode_embedding


class OpenAIProvider(ChatProvider):
    """Ask one OpenAI-shaped endpoint for words or vectors."""

    def ask(self, call: Call, model: str, deadline_s: float) -> AsyncIterator[Piece | Answer]:
        """Make one call, of either kind; see `ChatProvider.ask`."""
        if call.kind == "embedding":
            return self._embed(call, model, deadline_s)
        return super().ask(call, model, deadline_s)

    async def _embed(self, call: Call, model: str, deadline_s: float) -> AsyncIterator[Piece | Answer]:
        began = time.monotonic()
        with unsent():
            body = encode_embedding(call, model)
            address = await self._endpoint(deadline_s)
            limits = self._bounded(deadline_s - (time.monotonic() - began), False)
        request = self._request(address, "embeddings", body, False)
        async with self._http.exchange(request, limits) as reply:
            if reply.status != 200:
                raise await self._failure(reply, address, model)
            vectors, usage, version = decode_embedding(await reply.body(), len(call.messages), self._vendor.title)
        yield answer_of(call, vectors, usage, (self.name, model, version), began)


def answer_of(call: Call, vectors: Foreign, usage: Usage | None, names: tuple[str, str, str], began: float) -> Answer:
    """Make the answer of a call that began at a time of `time.monotonic`. `names`: provider, model, vendor's model.

    It is unpriced. Usage that the vendor did not report is estimated.
    """
    provider, model, version = names
    took_ms = max(round((time.monotonic() - began) * 1000), 1)
    return Answer(
        text="",
        finish="stop",
        usage=usage or Usage(input_tokens(call), 0, estimated=True),
        provider=provider,
        model=model,
        model_version=version or model,
        priced=False,
        took_ms=took_ms,
        first_token_ms=took_ms,
        parts=(vectors,),
    )


def input_tokens(call: Call) -> int:
    """Count the tokens of an embedding's inputs: a list of tokens exactly, a text by its length."""
    texts = [message.content for message in call.messages if isinstance(message.content, str)]
    lists = [part for message in call.messages for part in message.content if isinstance(part, Foreign)]
    return sum(estimate(texts)) + sum(bytes(part.json).count(b",") + 1 for part in lists)
