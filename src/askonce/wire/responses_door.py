"""The door `POST /v1/responses`: OpenAI's newer shape for questions, whole answers, streams and errors.

Source: OpenAI's API reference, "Responses". The API without its memory: nothing is kept that a later request could
name, and replies say `store: false`. Its questions are those of chat completions (`wire.responses_read`) and share
their answers. That an answer came from the cache is told by headers only: the shape has no room for it.

Ids of items hold the request's id, as the response's own does: clients tell items of a conversation apart by them. In
a rendition its place is held by a byte that JSON never has as it is.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct

from askonce.domain.answer import Answer, Entry
from askonce.domain.call import Ask, CacheWish
from askonce.domain.errors import AskonceError
from askonce.wire.door import Facts, Writer
from askonce.wire.openai_errors import openai_error
from askonce.wire.responses_read import read_response
from askonce.wire.responses_reply import whole
from askonce.wire.responses_stream import EventWriter, head

NAME = "openai-responses/1"
PLACE = b"\x1f"


class ResponsesBody(Struct, frozen=True):
    """Hold the body of POST /v1/responses: the fields that are best known; OpenAI's reference has the others.

    Read by `wire.responses_read`, which takes all fields and keeps those it does not know.
    """

    input: str | list[dict[str, Any]]
    model: Annotated[str | None, Meta(description="as in gpt-4o or openai:gpt-4o; absent: the default model")] = None
    instructions: Annotated[str | None, Meta(description="what the model is told before the input")] = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    tools: Annotated[list[dict[str, Any]] | None, Meta(description="functions and custom tools")] = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: Annotated[dict[str, Any] | None, Meta(description="format and verbosity")] = None
    reasoning: dict[str, Any] | None = None
    store: Annotated[bool | None, Meta(description="taken, but nothing is kept between requests")] = None
    user: str | None = None
    metadata: dict[str, Any] | None = None


class ResponsesDoor:
    """Translate responses, both ways."""

    name = NAME

    def read(self, body: bytes, tenant: str, wish: CacheWish) -> Ask:
        """Turn a body into a question. Raises `Malformed` and `Invalid`."""
        return read_response(body, tenant, wish)

    def rendition(self, answer: Answer) -> bytes:
        """Encode what all replies with this answer share, without the opening brace."""
        return whole(answer, PLACE)

    def render(self, entry: Entry, facts: Facts) -> bytes:
        """Return the whole response."""
        request_id = facts.request_id.encode()
        shared = entry.rendition if entry.shape == NAME else self.rendition(entry.open())
        return head(request_id, entry.stored_ms // 1000, facts.ask.echo) + shared.replace(PLACE, request_id)

    def writer(self, ask: Ask) -> Writer:
        """Return a writer of events."""
        return EventWriter(ask.echo)

    def error(self, error: AskonceError, request_id: str) -> bytes:
        """Return an error's body."""
        return openai_error(error, request_id)


RESPONSES = ResponsesDoor()
