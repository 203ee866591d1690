"""Tell Sentry, where one is set, of what the processes themselves cannot: that one died, or could not even begin.

The library is read when there is something to tell, and in a thread: the supervisor's turns must not wait for it.
"""

import queue
import threading
from typing import TYPE_CHECKING

from askonce.config.settings import Config
from askonce.telemetry import logs
from askonce.wiring.state import node_name

if TYPE_CHECKING:
    from askonce.telemetry.errors import Destination

WAITING_MAX = 100  # deaths that nobody was told of yet; who dies oftener than that is told by the first ones
CLOSE_S = 3.0  # the library gives itself two

log = logs.get("askonce.supervisor")


class Teller:
    """Tell of dead children. To be closed."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._deaths: queue.Queue[tuple[str, str] | None] = queue.Queue(WAITING_MAX)
        self._thread: threading.Thread | None = None

    def died(self, process: str, ending: str) -> None:
        """Tell that a child ended that should not have. Returns at once."""
        if not self._config.sentry_dsn:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="telling", daemon=True)
            self._thread.start()
        try:
            self._deaths.put_nowait((process, ending))
        except queue.Full:
            return

    def close(self) -> None:
        """Wait until all was sent, for three seconds at most."""
        if self._thread is not None:
            try:
                self._deaths.put_nowait(None)
            except queue.Full:
                return
            self._thread.join(CLOSE_S)

    def _run(self) -> None:
        try:
            from askonce.telemetry.errors import ErrorTracking  # noqa: PLC0415 - 0.4 s and 15 MB

            tracking = ErrorTracking(_destination(self._config, "supervisor"))
            while (death := self._deaths.get()) is not None:
                tracking.died(*death)
            tracking.close()
        except Exception:  # telling must not end who tells
            log.exception("Sentry could not be told")


def tell_crash(config: Config, process: str, error: Exception) -> None:
    """Tell what a process dies of, before it does; for two seconds at most."""
    if not config.sentry_dsn:
        return
    try:
        from askonce.telemetry.errors import ErrorTracking  # noqa: PLC0415 - as above

        tracking = ErrorTracking(_destination(config, process))
        tracking.defect(error)
        tracking.close()
    except Exception:  # what it dies of is in the log
        log.exception("Sentry could not be told")


def _destination(config: Config, process: str) -> "Destination":
    from askonce.telemetry.errors import Destination  # noqa: PLC0415 - as above

    return Destination(config.sentry_dsn, config.sentry_environment, node_name(config.data_dir), process)
