"""Ask a provider. The only place that names one of the candidates as the one that is paid."""

from collections.abc import AsyncIterator, Mapping

from msgspec.structs import replace

from askonce.domain.answer import Answer, Piece
from askonce.domain.call import Call, Candidate
from askonce.domain.errors import InternalError
from askonce.domain.ports import PriceSource, Provider


class Dispatch:
    """Make paid calls within a total deadline (seconds), and say what they cost."""

    def __init__(self, providers: Mapping[str, Provider], prices: PriceSource, total_s: float) -> None:
        self._providers = providers
        self._prices = prices
        self._total_s = total_s

    def drains(self, call: Call, candidate: Candidate) -> bool:
        """Say whether this call, when abandoned, is to be read to its end, because it is paid anyway."""
        provider = self._provider(candidate)
        return provider.drains if call.stream else provider.drains_plain

    async def ask(self, call: Call, candidate: Candidate) -> AsyncIterator[Piece | Answer]:
        """Yield deltas (if the call streams), then the whole answer, not priced yet. Closing it hangs up.

        Raises the provider errors of `domain.errors`.
        """
        pieces = self._provider(candidate).ask(call, candidate.model, self._total_s)
        try:
            async for piece in pieces:
                yield piece
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]  # providers are async generators

    async def priced(self, answer: Answer) -> Answer:
        """Return the answer with its cost. If cancelled, nothing has happened."""
        await self._prices.loaded()
        price = self._prices.price(answer.provider, answer.model, answer.model_version)
        if price is None:
            return replace(answer, cost_nano=0, priced=False)
        return replace(answer, cost_nano=price.cost_nano(answer.usage), priced=True)

    def _provider(self, candidate: Candidate) -> Provider:
        provider = self._providers.get(candidate.provider)
        if provider is None:
            raise InternalError(f"The provider {candidate.provider!r} was routed to, but is not there.")
        return provider
