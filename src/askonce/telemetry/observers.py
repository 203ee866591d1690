"""Several who watch, as one. What fails in one of them is logged, and changes nothing for others or for the road."""

import logging
from collections.abc import Callable, Sequence

from askonce.domain.errors import AskonceError, StoreUnavailable
from askonce.domain.ledger import CallRow
from askonce.domain.outcome import Spared
from askonce.domain.ports import Observer
from askonce.domain.watching import Course, Served, Worked

_log = logging.getLogger("askonce.telemetry")


class Observers:
    """Tell each of them (port `Observer`), in order."""

    def __init__(self, *observers: Observer) -> None:
        self._served = [observer.served for observer in observers]
        self._observers: Sequence[Observer] = observers
        self._failed: set[str] = set()

    def served(self, served: Served) -> None:
        """Tell of a request that has ended at its door. Of hits too: this is the hot path."""
        for tell in self._served:
            try:
                tell(served)
            except Exception:
                self._note("served")

    def paid(self, row: CallRow, course: Course) -> None:
        """Tell of a call that reached a provider."""
        self._tell("paid", lambda observer: observer.paid(row, course))

    def worked(self, worked: Worked) -> None:
        """Tell of work in the background that has ended."""
        self._tell("worked", lambda observer: observer.worked(worked))

    def unbooked(self, ending: CallRow | Spared, error: StoreUnavailable) -> None:
        """Tell of an ending that could not be booked."""
        self._tell("unbooked", lambda observer: observer.unbooked(ending, error))

    def failed(self, error: AskonceError) -> None:
        """Tell of a request that ended with an error that is not its caller's."""
        self._tell("failed", lambda observer: observer.failed(error))

    def defect(self, error: BaseException) -> None:
        """Tell of an error that nobody expected."""
        self._tell("defect", lambda observer: observer.defect(error))

    def _tell(self, what: str, act: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            try:
                act(observer)
            except Exception:
                self._note(what)

    def _note(self, what: str) -> None:
        """Log a failure with its traceback, the first of each kind: the next thousand would say the same."""
        if what not in self._failed:
            self._failed.add(what)
            _log.exception("an observer failed at %s; further failures of this kind are not logged", what)
