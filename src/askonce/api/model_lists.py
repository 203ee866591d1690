"""The doors `GET /v1/models` and `GET /v1/models/{id}`: what can be asked, in the shape of whoever looks."""

import msgspec

from askonce.api.bodies import query_fields
from askonce.api.entering import enter
from askonce.api.replies import Reply, error_reply, json_reply
from askonce.api.requests import Request
from askonce.api.voices import ANTHROPICS, voice_of
from askonce.domain.call import Candidate
from askonce.domain.caller import Caller
from askonce.domain.clock import Clock
from askonce.domain.errors import AskonceError, Detail, Invalid
from askonce.domain.fleet import Fleet, Offer
from askonce.domain.ports import Window, Windows
from askonce.gate.scopes import may_ask
from askonce.routing.offers import offer_named
from askonce.wire import model_lists
from askonce.wire.model_lists import ModelsQuery

PREFIX = "/v1/models/"


class ModelDoors:
    """List models, or look at one."""

    def __init__(self, fleet: Fleet, windows: Windows, clock: Clock) -> None:
        self._fleet = fleet
        self._windows = windows
        self._clock = clock

    async def __call__(self, request: Request, caller: Caller, window: Window | None) -> Reply:
        """Answer one request. Raises what its window refuses; later errors are replies."""
        voice = voice_of(request.path, request.headers)
        headers = await enter(window, self._windows, self._clock, voice)
        try:
            return json_reply(await self._body(request, caller, anthropics=voice is ANTHROPICS), headers)
        except AskonceError as error:
            return error_reply(error, voice.error(error, request.id), headers)

    async def _body(self, request: Request, caller: Caller, *, anthropics: bool) -> bytes:
        offers = [offer for offer in await self._fleet.offers() if _is_for(caller, offer)]
        if request.path.startswith(PREFIX):
            name = request.path.removeprefix(PREFIX)
            if anthropics:
                return model_lists.anthropic_model(offer_named(name, list(filter(model_lists.speaks, offers))))
            return model_lists.openai_model(offer_named(name, offers))
        if anthropics:
            return model_lists.anthropic_list(offers, _query(request.query))
        return model_lists.openai_list(offers)


def _is_for(caller: Caller, offer: Offer) -> bool:
    """Say whether a caller may ask what a name stands for: of several, one at least."""
    stands_for = offer.leads_to or (Candidate(offer.owner, offer.model),)
    return any(may_ask(caller, one.provider, one.model) for one in stands_for)


def _query(query: bytes) -> ModelsQuery:
    """Read which page is wanted; clients send further fields (`beta`), which mean nothing here. Raises `Invalid`."""
    try:
        return msgspec.convert(query_fields(query), ModelsQuery, strict=False)
    except msgspec.ValidationError:
        problem = f"must be a whole number from 1 to {model_lists.PAGE_CEILING}"
        raise Invalid(f"limit {problem}.", details=[Detail("limit", problem)]) from None
