"""Request headers that a vendor's providers are to get as they came: asides of the question.

What such a header switches on may change the answer (Anthropic's betas: longer contexts, interleaved thinking), so it
is part of the question as well, save for what is known to change only what is paid (`HARMLESS`). Providers of other
shapes are not told and do not mind: the header is a wish about its own vendor.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from askonce.domain.call import Aside, Ask
from askonce.domain.content import canonical_json

HEADERS = "headers"  # an aside at ("headers", NAME) is a header, its JSON the value as a text


# Anthropic's docs, "Prompt caching": where and how long the prompt is kept, nothing of the answer.
HARMLESS = frozenset({"prompt-caching-2024-07-31", "extended-cache-ttl-2025-04-11"})


def with_headers(ask: Ask, headers: Iterable[tuple[str, str]]) -> Ask:
    """Return the question with headers (names in lower case) as asides of its shape."""
    found = tuple(headers)
    if not found:
        return ask
    told = tuple(Aside((HEADERS, name), canonical_json(value)) for name, value in found)
    tokens = {token.strip() for _, value in found for token in value.split(",")} - HARMLESS - {""}
    call = replace(ask.call, asides=(*ask.call.asides, *told), features=tuple(sorted(tokens)))
    return replace(ask, call=call)
