"""The door `POST /v1/chat/completions`: OpenAI's shape for questions, whole answers, streams and errors.

Source: OpenAI's API reference, "Chat" and "Streaming". A stream is: a chunk with the role, chunks with what is added,
a chunk with the finish reason, a chunk with usage if `stream_options.include_usage` asked for it, `[DONE]`. A stream
that breaks ends with an event that holds the error. That an answer came from the cache is told by headers only: the
shape has no room for it, and nothing of a reply depends on it.

`model` is the vendor's word for who answered. In a stream that is told with the end of the answer; until then the
chunks have the name that was asked for.
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct

from askonce.domain.answer import Answer, Delta, Entry, Piece, ThinkingDelta
from askonce.domain.call import Ask, CacheWish
from askonce.domain.errors import AskonceError
from askonce.domain.progress import Progress
from askonce.wire import sse
from askonce.wire.door import Facts, Writer
from askonce.wire.openai_errors import openai_error
from askonce.wire.openai_parts import as_json
from askonce.wire.openai_read import read_chat
from askonce.wire.openai_reply import (
    CallReply,
    ChunkChoice,
    DeltaReply,
    FunctionReply,
    UsageReply,
    common,
    finish_word,
    late_fields,
    own_fields,
    usage_reply,
)

NAME = "openai-chat/1"
STILL_HERE = b": still here\n\n"

_encode = msgspec.json.encode
_MARK = "\0"  # stands for a chunk's text
_HEAD = b'data: {"id":"chatcmpl-%b","object":"chat.completion.chunk","created":%d,"model":%b,"choices":'


class ChatBody(Struct, frozen=True):
    """Hold the body of POST /v1/chat/completions: the fields that are best known; OpenAI's reference has the others.

    Read by `wire.openai_read`, which takes all fields and keeps those it does not know.
    """

    messages: list[dict[str, Any]]
    model: Annotated[str | None, Meta(description="as in gpt-4o or openai:gpt-4o; absent: the default model")] = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None


class ChatDoor:
    """Translate chat completions, both ways."""

    name = NAME

    def read(self, body: bytes, tenant: str, wish: CacheWish) -> Ask:
        """Turn a body into a question. Raises `Malformed` and `Invalid`."""
        return read_chat(body, tenant, wish)

    def rendition(self, answer: Answer) -> bytes:
        """Encode what all replies with this answer share, without the opening brace."""
        return _encode(common(answer))[1:]

    def render(self, entry: Entry, facts: Facts) -> bytes:
        """Return the whole completion."""
        shared = entry.rendition if entry.shape == NAME else self.rendition(entry.open())
        return b'{"id":"chatcmpl-%b","created":%d,%b' % (facts.request_id.encode(), entry.stored_ms // 1000, shared)

    def writer(self, ask: Ask) -> Writer:
        """Return a writer of chunks."""
        return ChunkWriter(with_usage=_wants_usage(ask))

    def error(self, error: AskonceError, request_id: str) -> bytes:
        """Return an error's body."""
        return openai_error(error, request_id)


CHAT = ChatDoor()


def _wants_usage(ask: Ask) -> bool:
    """Say whether the caller asked for a stream's usage."""
    options = next((as_json(aside.json) for aside in ask.call.asides if aside.at == ("stream_options",)), None)
    return isinstance(options, dict) and options.get("include_usage") is True


class ChunkWriter:
    """Write one reply's chunks. All have one id and one time of creation."""

    def __init__(self, *, with_usage: bool) -> None:
        self._with_usage = with_usage
        self._progress = Progress()
        self._facts: Facts | None = None
        self._head = b""
        self._before_text = b""
        self._behind_text = b""
        self._spoke = False

    def start(self, facts: Facts) -> bytes:
        """Remember whose reply this is; the first chunk waits for the first piece, or for the whole answer."""
        self._facts = facts
        return b""

    def piece(self, piece: Piece) -> bytes:
        """Write one piece, after the chunk with the role if it is the first."""
        begun = b"" if self._head else self._begin()
        self._progress.add(piece)
        if isinstance(piece, Delta):
            self._spoke |= bool(piece.text)
            return b"%b%b%b%b" % (begun, self._before_text, _encode(piece.text), self._behind_text)
        return begun + self._written(piece)

    def still_here(self) -> bytes:
        """Write a comment."""
        return STILL_HERE

    def done(self, entry: Entry, facts: Facts) -> bytes:
        """Write what is left of the answer, the finish reason, usage if asked for, and the end."""
        answer = entry.open()
        begun = b"" if self._head else self._begin_replay(entry, facts, answer)
        refused = "refusal" in own_fields(answer)
        rest = self._progress.rest(answer)
        if refused and not self._spoke:  # a refusal that has not gone out as text is told as what it is only
            rest = [piece for piece in rest if not isinstance(piece, Delta)]
        left = b"".join(map(self._written, rest))
        late = late_fields(answer)
        added = self._chunk(late) if late is not None else b""
        self._address(facts, self._created, answer.model_version or answer.model)
        end = self._chunk(DeltaReply(), finish_word(answer.finish, refused=refused))
        usage = self._usage(usage_reply(answer.usage)) if self._with_usage else b""
        return begun + left + added + end + usage + b"data: [DONE]\n\n"

    def error(self, error: AskonceError, request_id: str) -> bytes:
        """Write the error as the last event."""
        return sse.encode(None, openai_error(error, request_id))

    def _begin(self) -> bytes:
        facts = self._facts
        if facts is None:
            raise RuntimeError("a stream is started before its pieces")
        self._address(facts, facts.now_ms // 1000, facts.model)
        return self._chunk(DeltaReply(role="assistant", content="", refusal=None))

    def _begin_replay(self, entry: Entry, facts: Facts, answer: Answer) -> bytes:
        self._address(facts, entry.stored_ms // 1000, answer.model_version or answer.model)
        return self._chunk(DeltaReply(role="assistant", content="", refusal=None))

    def _address(self, facts: Facts, created: int, model: str) -> None:
        """Prepare what all chunks begin with."""
        self._created = created
        self._head = _HEAD % (facts.request_id.encode(), created, _encode(model))
        # Nearly every chunk is a piece of text: all of it but the text is written once.
        self._before_text, _, self._behind_text = self._chunk(DeltaReply(content=_MARK)).rpartition(_encode(_MARK))

    def _written(self, piece: Piece) -> bytes:
        if isinstance(piece, Delta):
            return self._chunk(DeltaReply(content=piece.text))
        if isinstance(piece, ThinkingDelta):  # its signature comes whole, at the end (`late_fields`)
            return self._chunk(DeltaReply(reasoning_content=piece.text)) if piece.text else b""
        begins = bool(piece.id)
        call = CallReply(
            index=piece.index,
            id=piece.id or UNSET,
            type="function" if begins else UNSET,
            function=FunctionReply(piece.arguments, piece.name or UNSET),
        )
        return self._chunk(DeltaReply(tool_calls=(call,)))

    def _chunk(self, delta: DeltaReply, finish: Any = None) -> bytes:
        choice = _encode((ChunkChoice(0, delta, None, finish),))
        return b"%b%b%b}\n\n" % (self._head, choice, b',"usage":null' if self._with_usage else b"")

    def _usage(self, usage: UsageReply) -> bytes:
        return b'%b[],"usage":%b}\n\n' % (self._head, _encode(usage))
