"""Doors that look, change or administer: what their handlers get, and what they may answer."""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from askonce.api.replies import Reply, StreamReply
from askonce.api.requests import Request
from askonce.domain.caller import Caller


class Errand(Struct, frozen=True):
    """Hold one request behind the guard: who asks, the key in the path, query and body as the door's row types them."""

    caller: Caller
    request: Request
    key: str = ""
    query: Any = None
    body: Any = None
    secure: bool = False  # the client's own connection is encrypted


Handler = Callable[[Errand], Awaitable[Struct | Reply | StreamReply]]
