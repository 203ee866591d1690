"""DBOS's log lines: through our own handler, and only what is worth reading."""

import logging

LOGGER = "dbos"
# Lines that tell of what is meant to be so, or of what is raised as well.
_MEANT = ("Asyncio task cancelled", "DBOS failed to launch")
_ADDED = ("applicationID", "applicationVersion", "executorID", "operationUUID")


def route_logs() -> None:
    """Keep DBOS from adding a handler of its own, as it does where it finds none. Before it is made."""
    logger = logging.getLogger(LOGGER)
    logger.handlers[:] = [logging.NullHandler()]
    logger.propagate = True
    logger.addFilter(_quiet)


class _Quiet(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        for name in _ADDED:
            record.__dict__.pop(name, None)
        return not record.getMessage().startswith(_MEANT)


_quiet = _Quiet()


def have_the_last_look() -> None:
    """Look at each line after DBOS's own filter, which writes its ids onto it. After it was made."""
    logger = logging.getLogger(LOGGER)
    logger.removeFilter(_quiet)
    logger.addFilter(_quiet)
