"""Google's Gemini API asked for embeddings too, as a `Provider`. The rules of `gemini` hold."""

import time
from collections.abc import AsyncIterator

from askonce.domain.answer import Answer, Piece
from askonce.domain.call import Call
from askonce.domain.errors import unsent
from askonce.domain.usage import Usage
from askonce.providers.embeddings import answer_of
from askonce.providers.gemini import GeminiProvider
from askonce.wire.gemini_embeddings import decode_embedding, encode_embedding


class GoogleProvider(GeminiProvider):
    """Ask Google's Gemini API for words or vectors."""

    def ask(self, call: Call, model: str, deadline_s: float) -> AsyncIterator[Piece | Usage | Answer]:
        """Make one call, of either kind; see `GeminiProvider.ask`."""
        if call.kind == "embedding":
            return self._embed(call, model, deadline_s)
        return super().ask(call, model, deadline_s)

    async def _embed(self, call: Call, model: str, deadline_s: float) -> AsyncIterator[Piece | Answer]:
        began = time.monotonic()
        with unsent():
            name = self._path(model, stream=False).partition(":")[0]
            body = encode_embedding(call, name)
            address = await self._endpoint(deadline_s)
            limits = self._bounded(deadline_s - (time.monotonic() - began), False)
        request = self._request(address, f"{name}:batchEmbedContents", body, stream=False)
        async with self._http.exchange(request, limits) as reply:
            if reply.status != 200:
                raise await self._failure(reply, address, model)
            vectors, usage = decode_embedding(await reply.body(), len(call.messages), self._vendor.title)
        yield answer_of(call, vectors, usage, (self.name, model, ""), began)
