"""Several who watch are one; what fails in one of them is logged once and stops nobody."""

import logging

import pytest
from msgspec import Raw

from askonce.domain.errors import AskonceError, ProviderFailed, StoreUnavailable
from askonce.domain.executions import Submission, Submitter
from askonce.domain.ledger import CallRow, Origin
from askonce.domain.outcome import Spared
from askonce.domain.watching import NO_COURSE, Course, Served, Worked
from askonce.telemetry.observers import Observers

ROW = CallRow(1, Origin("team"), "openai", "gpt-4o", "", "answered", True, True)
WORKED = Worked(
    Submission("e-1", "workflow", "workflows", "w", Raw(b"{}"), Submitter("who", "team"), 1), 1, "failed", 1, 2
)
SERVED = Served("generate", 200, 12, "r-1")


class Watcher:
    """Note what it is told, and fail at it if it is to."""

    def __init__(self, fails: bool = False) -> None:
        self.told: list[str] = []
        self._fails = fails

    def _note(self, what: str) -> None:
        self.told.append(what)
        if self._fails:
            raise RuntimeError("the collector is broken")

    def served(self, served: Served) -> None:
        self._note("served")

    def paid(self, row: CallRow, course: Course) -> None:
        self._note("paid")

    def worked(self, worked: Worked) -> None:
        self._note("worked")

    def unbooked(self, ending: CallRow | Spared, error: StoreUnavailable) -> None:
        self._note("unbooked")

    def failed(self, error: AskonceError) -> None:
        self._note("failed")

    def defect(self, error: BaseException) -> None:
        self._note("defect")


def tell_all(observers: Observers) -> None:
    observers.served(SERVED)
    observers.paid(ROW, NO_COURSE)
    observers.worked(WORKED)
    observers.unbooked(ROW, StoreUnavailable("away"))
    observers.failed(ProviderFailed("no"))
    observers.defect(ValueError("oh"))


def test_everybody_is_told_of_everything_though_one_fails(caplog: pytest.LogCaptureFixture) -> None:
    broken, other = Watcher(fails=True), Watcher()
    observers = Observers(broken, other)
    with caplog.at_level(logging.ERROR, "askonce.telemetry"):
        tell_all(observers)
        tell_all(observers)
    assert broken.told == other.told == ["served", "paid", "worked", "unbooked", "failed", "defect"] * 2
    assert len(caplog.records) == 6, "once for each kind"
    assert all(record.exc_info for record in caplog.records)
