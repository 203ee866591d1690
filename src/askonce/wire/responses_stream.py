"""The events of a streamed response. Pure.

The format is OpenAI's API reference, "Streaming events". The response is told three times: when it is created, when it
is in progress, and whole at its end. A stream that breaks tells it failed, and then ends with an `error` event that
has the error twice: where the reference has it, and under `error`, where the official library looks for it.
"""

import msgspec

from askonce.domain.answer import Entry, Piece
from askonce.domain.errors import AskonceError
from askonce.domain.progress import Progress
from askonce.wire.door import Facts
from askonce.wire.openai_door import STILL_HERE
from askonce.wire.openai_errors import openai_error
from askonce.wire.responses_output import Events, Output
from askonce.wire.responses_reply import complete, is_complete, shared

_encode = msgspec.json.encode

# The reference's words for why a response failed (`error.code` of the response object).
_BUSY, _INVALID, _FAILED = "rate_limit_exceeded", "invalid_prompt", "server_error"
_BUSY_CODES = frozenset(("rate_limited", "provider_rate_limited"))

_UNFINISHED = (
    b'"object":"response","status":"%b","error":%b,"incomplete_details":null,"model":%b,"output":%b,"usage":null}'
)


def head(request_id: bytes, created: int, echo: bytes) -> bytes:
    """Return what a response begins with: what is the reply's own, and what it repeats of the request."""
    return b'{"id":"resp_%b","created_at":%d,%b,' % (request_id, created, echo)


class EventWriter:
    """Write one response's events. All have one id and one time of creation."""

    def __init__(self, echo: bytes) -> None:
        self._echo = echo
        self._events = Events()
        self._progress = Progress()
        self._output = Output(self._events, b"")
        self._head = b""
        self._model = b'""'

    def start(self, facts: Facts) -> bytes:
        """Tell that the response is there; for an answer from the store that is told with the rest, as of its time."""
        self._output = Output(self._events, facts.request_id.encode())
        return b"" if facts.state == "hit" else self._begin(facts, facts.now_ms, facts.model)

    def piece(self, piece: Piece) -> bytes:
        """Write one piece."""
        self._progress.add(piece)
        return self._output.add(piece)

    def still_here(self) -> bytes:
        """Write a comment."""
        return STILL_HERE

    def done(self, entry: Entry, facts: Facts) -> bytes:
        """Write what is left of the answer, and the whole response."""
        answer = entry.open()
        begun = b""
        if not self._head:
            begun = self._begin(facts, entry.stored_ms, answer.model_version or answer.model)
        rest = complete(answer, self._output, self._progress)
        kind = b"response.completed" if is_complete(answer) else b"response.incomplete"
        return begun + rest + self._response(kind, shared(answer, self._output))

    def error(self, error: AskonceError, request_id: str) -> bytes:
        """Write that the response failed, and the error as the last event."""
        code = _BUSY if error.code in _BUSY_CODES else _INVALID if error.status < 500 else _FAILED
        failed = b""
        if self._head:
            self._output.break_off()
            told = _encode({"code": code, "message": error.message})
            failed = self._response(
                b"response.failed", _UNFINISHED % (b"failed", told, self._model, self._output.items())
            )
        said = openai_error(error, request_id)
        flat = msgspec.json.decode(said)["error"]
        fields = b'"code":%b,"message":%b,"param":%b' % (
            _encode(flat["code"]),
            _encode(flat["message"]),
            _encode(flat["param"]),
        )
        return failed + self._events.write(b"error", b"%b,%b" % (fields, said[1:-1]))

    def _begin(self, facts: Facts, created_ms: int, model: str) -> bytes:
        self._head = head(facts.request_id.encode(), created_ms // 1000, self._echo)
        self._model = _encode(model)
        begun = _UNFINISHED % (b"in_progress", b"null", self._model, b"[]")
        return self._response(b"response.created", begun) + self._response(b"response.in_progress", begun)

    def _response(self, kind: bytes, rest: bytes) -> bytes:
        return self._events.write(kind, b'"response":%b%b' % (self._head, rest))
