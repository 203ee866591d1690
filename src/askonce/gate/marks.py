"""Take the times of a flight's stages as it passes them."""

import time

from msgspec import Struct, field

from askonce.domain.answer import Answer
from askonce.domain.call import Call
from askonce.domain.watching import Course


class Marks(Struct):
    """Hold moments of the process's clock (`time.perf_counter_ns`); 0: not come to that yet."""

    began_ns: int
    traceparent: str = ""
    span: str = ""
    sent: str = ""
    seated_ns: int = field(default_factory=time.perf_counter_ns)
    boarded_ns: int = 0
    asked_ns: int = 0
    answered_ns: int = 0
    attempts: int = 0
    followers: int = 0

    def board(self) -> None:
        """Note that the lease is had. The last time counts."""
        self.boarded_ns = time.perf_counter_ns()

    def ask(self) -> None:
        """Note that an attempt begins."""
        self.asked_ns, self.answered_ns = time.perf_counter_ns(), 0
        self.attempts += 1

    def answer(self, followers: int) -> None:
        """Note that an attempt has ended, and how many share its answer."""
        self.answered_ns, self.followers = time.perf_counter_ns(), followers

    def course(self, call: Call, answer: Answer) -> Course:
        """Return the course until now, which is when it is settled."""
        origin = self.began_ns or self.seated_ns

        def since(mark_ns: int) -> int:
            return max(1, (mark_ns - origin) // 1000) if mark_ns else 0

        asked_us, first_token_ms = since(self.asked_ns), answer.first_token_ms
        return Course(
            seated_us=since(self.seated_ns),
            boarded_us=since(self.boarded_ns),
            asked_us=asked_us,
            first_token_us=asked_us + 1000 * first_token_ms if first_token_ms and asked_us else 0,
            answered_us=since(self.answered_ns),
            settled_us=since(time.perf_counter_ns()),
            followers=self.followers,
            attempts=self.attempts,
            traceparent=self.traceparent,
            span=self.span,
            sent=self.sent,
            call=call,
            answer=answer,
        )
