"""Request headers that a vendor's providers are to get as they came: asides of the question."""

from collections.abc import Iterable

from msgspec.structs import replace

from askonce.domain.call import Aside, Ask
from askonce.domain.content import canonical_json

HEADERS = "headers"  # an aside at ("headers", NAME) is a header, its JSON the value as a text


def with_headers(ask: Ask, headers: Iterable[tuple[str, str]]) -> Ask:
    """Return the question with headers (names in lower case) as asides of its shape."""
    told = tuple(Aside((HEADERS, name), canonical_json(value)) for name, value in headers)
    return replace(ask, call=replace(ask.call, asides=(*ask.call.asides, *told))) if told else ask
