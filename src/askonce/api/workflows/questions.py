"""Questions that are asked in the background: bodies of doors that ask, found right before anything is written."""

import msgspec
from msgspec import Raw, Struct

from askonce.domain.call import Ask, CacheWish
from askonce.wire.codecs import CODECS

GENERATE = "/llm/generate"


class QuestionWork(Struct, frozen=True):
    """Hold a question as it is kept: the path of the door that it is for, and its body as that door takes it."""

    url: str
    body: Raw


def read_question(url: str, body: bytes, tenant: str) -> tuple[Ask, Raw]:
    """Return a question, and what is kept of it. Raises `Malformed`, `Invalid` in the words of its door."""
    ask = CODECS[url].read(body, tenant, CacheWish())
    return ask, Raw(msgspec.json.encode(QuestionWork(url, Raw(body))))
