"""What the doors of workflows share."""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from askonce.api.asking import Intake
from askonce.api.trail import Trail
from askonce.api.workflows.askable import Choose
from askonce.api.workflows.hub import Hub
from askonce.domain.clock import Clock
from askonce.domain.errors import WorkflowsOff
from askonce.domain.executions import Executions
from askonce.domain.ports import Windows

OFF = "This server takes no workflows and no jobs: its setting `workflows` (ASKONCE_WORKFLOWS) is off."


class Archive(Protocol):
    """Open what is kept of executions, at the first call that needs it: many gateways never do."""

    async def open(self) -> Executions:
        """Return it. Raises `WorkflowsOff`, `DatabaseAway`."""
        ...


class NoArchive:
    """Keep nothing: workflows are switched off."""

    async def open(self) -> Executions:
        """Raise `WorkflowsOff`."""
        raise WorkflowsOff(OFF)

    async def close(self) -> None:
        """Do nothing."""


class WorkDesk(Struct, frozen=True):
    """Hold what the doors share.

    `choose` says who might be asked. `nudge` tells the worker that there is something new; it never waits and never
    fails. `webhook_hosts` are those that jobs may name, `*` for all; `timeout_s` is the longest time that they may ask
    for.
    """

    archive: Archive
    hub: Hub
    windows: Windows
    clock: Clock
    intake: Intake
    trail: Trail
    choose: Choose
    nudge: Callable[[], None]
    webhook_hosts: tuple[str, ...] = ()
    timeout_s: int = 3600
