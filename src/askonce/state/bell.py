"""A bell for the workers of other nodes, where there are none."""

from collections.abc import Callable


class SilentBell:
    """Ring for nobody: the worker of this data folder is told by its socket."""

    def ring(self) -> None:
        """Do nothing."""

    def listen(self, heard: Callable[[], None]) -> None:
        """Hear nothing, ever."""
