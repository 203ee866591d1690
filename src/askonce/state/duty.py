"""Duty where files of one machine are the state: its one worker always has it."""


class AloneDuty:
    """Be the only worker that there is (port `Duty`): the lock on the data folder sees to that."""

    shared = False

    async def take(self, ledger: str) -> str:
        """Take it."""
        return ""

    async def leave(self) -> None:
        """Do nothing."""
