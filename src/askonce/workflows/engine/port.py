"""What the house knows of the engine: nothing of DBOS.

    absent ──run──▶ running ──its work returned──▶ done
                       │ └──cancel: its work was cancelled, and has written its end──▶ done
                       └──stop, a death, the database away──▶ left ──run, by whoever has it then──▶ running

A work that was left goes on with the results of the steps that it had done. Who may run it is not decided here: exactly
one worker is told to, by the rows of executions (`dispatcher`).
"""

from collections.abc import Awaitable, Callable, Collection
from typing import Protocol


class Step(Protocol):
    """Do something durably: what has ended well once is not done again."""

    async def run(self, work: Callable[[], Awaitable[str]]) -> str:
        """Return what `work` returned, now or in an earlier life: a few hundred bytes at most.

        Raises what it raises, and then nothing is remembered. Steps may run side by side; each runs once.
        """
        ...


class Steps(Protocol):
    """Give out steps."""

    def reserve(self, name: str) -> Step:
        """Return the next step. All are reserved before the first one runs, in the same order in each life."""
        ...


class Work(Protocol):
    """What the engine runs. Ids are `<execution>.<round>`."""

    async def run(self, work_id: str, steps: Steps) -> None:
        """Do it, or what is left of it. Raises `DatabaseAway` where it can only go on later; again is harmless."""
        ...

    async def give_up(self, work_id: str, code: str, reason: str) -> None:
        """End it as failed: it cannot be brought to an end. Raises `DatabaseAway`."""
        ...


class Engine(Protocol):
    """Run works durably, as many side by side as it is told to."""

    async def start(self, work: Work, left: Callable[[str], None]) -> None:
        """Open the engine's database, making its tables. `left` hears of each work that runs here no more."""
        ...

    async def run(self, work_id: str) -> bool:
        """Begin a work, or take it up where it was left; False where it runs here already, or was given up.

        Only for works that no other process runs. Returns when the beginning is written. If cancelled, it may run.
        """
        ...

    def cancel(self, work_id: str) -> bool:
        """Cancel what a work is doing, at once; False where it does not run here."""
        ...

    def running(self) -> Collection[str]:
        """Return the works that run here now."""
        ...

    async def drop(self) -> None:
        """Leave all works as they are: they may be somebody else's by now."""
        ...

    async def sweep(self, now_ms: int, size: int) -> int:
        """Forget at most `size` works that ended long ago; return how many."""
        ...

    async def stop(self, drain_s: float) -> None:
        """Give works so long to end, leave the others as they are, and close."""
        ...


class Tenure(Protocol):
    """Hold the name under which a worker runs works, so that others can tell whether it lives."""

    async def take(self) -> str:
        """Take a name. Raises `DatabaseAway`."""
        ...

    async def holds(self) -> bool:
        """Say whether the name is still ours: False once others may have taken our works over."""
        ...

    async def inherit(self, worker: str, take_over: Callable[[], Awaitable[None]]) -> bool:
        """Run `take_over` while it is certain that this worker is dead; False, at once, where it is not.

        Raises `DatabaseAway` and what `take_over` raises.
        """
        ...

    async def release(self) -> None:
        """Give the name up."""
        ...
