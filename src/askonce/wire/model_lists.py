"""Lists of models as vendors' clients read them. Pure.

Sources: OpenAI's API reference, "Models" (`GET /v1/models`); Anthropic's, "List Models". Both want to know when a model
came out, which nobody tells us: it is the epoch, as Anthropic's reference says for a date that is not known.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from askonce.domain.errors import Detail, Invalid
from askonce.domain.fleet import Offer

PAGE, PAGE_CEILING = 20, 1000  # Anthropic's default, and its bound
EPOCH = "1970-01-01T00:00:00Z"


class ModelObject(Struct, frozen=True):
    """Hold one model in OpenAI's shape. `created` in epoch seconds."""

    id: str
    owned_by: str
    object: Literal["model"] = "model"
    created: int = 0


class ModelObjects(Struct, frozen=True):
    """Hold OpenAI's list; to a request with the header `anthropic-version` it is Anthropic's."""

    data: tuple[ModelObject, ...]
    object: Literal["list"] = "list"


class ClaudeModel(Struct, frozen=True):
    """Hold one model in Anthropic's shape."""

    id: str
    display_name: str
    max_input_tokens: int | None = None
    max_tokens: int | None = None
    type: Literal["model"] = "model"
    created_at: str = EPOCH
    capabilities: None = None
    line: None = None
    lifecycle: Literal["active"] = "active"
    deprecated_at: None = None
    retires_at: None = None


class ClaudeModels(Struct, frozen=True):
    """Hold one page of Anthropic's list."""

    data: tuple[ClaudeModel, ...]
    has_more: bool
    first_id: str | None
    last_id: str | None


class ModelsQuery(Struct, frozen=True):
    """Hold which page of Anthropic's list is wanted; OpenAI's has no pages."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_CEILING)] = PAGE
    after_id: str = ""
    before_id: str = ""


def openai_list(offers: Sequence[Offer]) -> bytes:
    """Write OpenAI's list."""
    return msgspec.json.encode(ModelObjects(tuple(map(_object, offers))))


def openai_model(offer: Offer) -> bytes:
    """Write one model in OpenAI's shape."""
    return msgspec.json.encode(_object(offer))


def anthropic_list(offers: Sequence[Offer], query: ModelsQuery) -> bytes:
    """Write one page of Anthropic's list. Raises `Invalid` for a page that does not exist."""
    page, more = _page([offer for offer in offers if speaks(offer)], query)
    first, last = (page[0].name, page[-1].name) if page else (None, None)
    return msgspec.json.encode(ClaudeModels(tuple(map(_claude, page)), more, first, last))


def anthropic_model(offer: Offer) -> bytes:
    """Write one model in Anthropic's shape."""
    return msgspec.json.encode(_claude(offer))


def speaks(offer: Offer) -> bool:
    """Say whether a model belongs on Anthropic's list, whose doors all ask for words."""
    return offer.kind == "chat"


def _page(offers: Sequence[Offer], query: ModelsQuery) -> tuple[Sequence[Offer], bool]:
    """Return a page, and whether there is more in the direction in which one reads."""
    if query.after_id and query.before_id:
        problem = "must be left out beside after_id"
        raise Invalid(f"before_id {problem}.", details=[Detail("before_id", problem)])
    if query.before_id:
        end = _place(offers, "before_id", query.before_id)
        begin = max(0, end - query.limit)
        return offers[begin:end], begin > 0
    begin = _place(offers, "after_id", query.after_id) + 1 if query.after_id else 0
    end = begin + query.limit
    return offers[begin:end], end < len(offers)


def _place(offers: Sequence[Offer], field: str, name: str) -> int:
    for at, offer in enumerate(offers):
        if offer.name == name:
            return at
    problem = "is not the id of a model in this list"
    raise Invalid(f"{field} {problem}.", details=[Detail(field, problem)])


def _object(offer: Offer) -> ModelObject:
    return ModelObject(offer.name, offer.owner)


def _claude(offer: Offer) -> ClaudeModel:
    return ClaudeModel(offer.name, offer.name, offer.context_window)
