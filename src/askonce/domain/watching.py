"""What those who watch from beside the road are told: how a request ended at its door, how a paid call went, and what
became of work in the background."""

from msgspec import Struct

from askonce.domain.answer import Answer
from askonce.domain.call import Call
from askonce.domain.executions import Submission


class Course(Struct, frozen=True):
    """Hold when the stages of a paid call were over, in microseconds since its request was read; 0: not come to that.

    `seated`: let in, and a seat taken in a flight. `boarded`: the lease was had, and the store looked at once more.
    `asked`: the last attempt began. `first_token` and `answered`: that attempt's. `settled`: stored and booked.
    `followers` had joined by then in the same process; `attempts` were made, the last one included. `traceparent` came
    with the request, `sent` went with the last attempt; "" for none. It is a part of `span`, "" for its request's.
    `call` and `answer` are what was asked and said: for those only who are told to pass on words.
    """

    seated_us: int = 0
    boarded_us: int = 0
    asked_us: int = 0
    first_token_us: int = 0
    answered_us: int = 0
    settled_us: int = 0
    followers: int = 0
    attempts: int = 1
    traceparent: str = ""
    span: str = ""
    sent: str = ""
    call: Call | None = None
    answer: Answer | None = None

    @property
    def operation(self) -> str:
        """Return what OpenTelemetry calls such a call."""
        return "embeddings" if self.call is not None and self.call.kind == "embedding" else "chat"

    def stages(self) -> tuple[tuple[str, int], ...]:
        """Return how long each stage took (microseconds), in order; those that it did not come to are left out."""
        marks = (
            ("admission", self.seated_us),
            ("boarding", self.boarded_us),
            ("dispatch", self.asked_us),
            ("first_token", self.first_token_us),
            ("generation", self.answered_us),
            ("settlement", self.settled_us),
        )
        found, before = [], 0
        for name, mark in marks:
            if mark:
                found.append((name, max(0, mark - before)))
                before = max(before, mark)
        return tuple(found)


NO_COURSE = Course()


class Served(Struct, frozen=True, gc=False):
    """Hold how one request ended at its door, once its last byte was given to the server.

    `door` is "" where there was none. `status` is that of the reply, 499 where the caller left before there was one;
    `code` is the error's, also of a stream that broke. `cache` is how an answer came about, "" where none was asked
    for. `entered_us`: how long window and look-up took, 0 where there were none.
    """

    door: str
    status: int
    took_us: int
    request_id: str
    code: str = ""
    cache: str = ""
    provider: str = ""
    model: str = ""
    saved_nano: int = 0
    entered_us: int = 0
    tenant: str = ""
    key_id: str = ""
    traceparent: str = ""


class Worked(Struct, frozen=True):
    """Hold how work in the background ended: a round of an execution; where `node` is set, that node of it.

    Times are epoch milliseconds, money is nano-dollars. `type` is the node's. `status`, `cache` and `code` (of the
    error, "" for none) are in the words of `domain.executions`.
    """

    submission: Submission
    round: int
    status: str
    began_ms: int
    ended_ms: int
    code: str = ""
    node: str = ""
    type: str = ""
    attempts: int = 0
    cache: str = ""
    provider: str = ""
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_nano: int = 0
    saved_nano: int = 0


CLIENT_LEFT = 499  # the status under which those are counted who hang up before their answer begins (nginx's)
