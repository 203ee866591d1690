"""What an execution that was taken up again did not pay again, for the books.

Store away: open. What could not be booked is reported to the observer, and the work goes on.
"""

from askonce.domain.clock import Clock
from askonce.domain.errors import StoreUnavailable
from askonce.domain.executions import NodeRun, Submission
from askonce.domain.outcome import Spared
from askonce.domain.ports import Books, Observer


class BookedSavings:
    """Book nodes that were found done (port `run.Savings`)."""

    def __init__(self, books: Books, clock: Clock, observer: Observer) -> None:
        self._books = books
        self._clock = clock
        self._observer = observer

    async def resumed(self, submission: Submission, run: NodeRun) -> None:
        """Book what one node cost, or spared, when it was answered: so much another answer would have cost."""
        submitter = submission.submitter
        spared = Spared(
            submitter.tenant,
            "resumed",
            run.cost_nano + run.saved_nano,
            run.prompt_tokens + run.completion_tokens,
            self._clock.wall_ms(),
            submitter.key_id,
            submission.door,
            run.provider,
            run.model,
        )
        try:
            await self._books.book(spared)
        except StoreUnavailable as error:
            self._observer.unbooked(spared, error)
