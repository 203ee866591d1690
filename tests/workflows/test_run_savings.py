"""What was found done when an execution was taken up again, in the books."""

from tests.gate.gate_world import Gate, Notes, Sky, away, play
from tests.workflows.workflow_world import TENANT, workflow

from askonce.domain.executions import NodeRun
from askonce.workflows.savings import BookedSavings

RUN = NodeRun("e1", "a", "succeeded", provider="p", model="m", cost_nano=7, prompt_tokens=3, completion_tokens=2)


def test_a_node_that_was_found_done_is_counted_as_resumed():
    async def run() -> None:
        sky = Sky()
        await BookedSavings(sky.books, sky.clock, Notes()).resumed(workflow(), RUN)
        totals = await sky.books.totals(TENANT)
        assert (totals.resumed, totals.saved_resumed_nano, totals.saved_tokens) == (1, 7, 5)
        assert (totals.coalesced, totals.hits, totals.spent_nano) == (0, 0, 0)

    play(run())


def test_books_that_are_away_stop_nothing_and_the_observer_hears_of_it():
    async def run() -> None:
        sky, notes = Sky(), Notes()
        books = Gate(sky.books, away("book"))
        await BookedSavings(books, sky.clock, notes).resumed(workflow(), RUN)
        assert [one.kind for one in notes.lost if not hasattr(one, "ending")] == ["resumed"]

    play(run())
