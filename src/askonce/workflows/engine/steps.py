"""Steps over DBOS: their places are drawn up front, so that they may run side by side and in any order."""

from collections.abc import Awaitable, Callable

from dbos import DBOS, StepReservation

from askonce.workflows.engine.port import Step


class DbosSteps:
    """Give out steps (port `Steps`); only within a workflow."""

    def reserve(self, name: str) -> Step:
        """Return the next step."""
        return _DbosStep(DBOS.reserve_step(), name)


class _DbosStep:
    def __init__(self, reserved: StepReservation, name: str) -> None:
        self._reserved = reserved
        self._name = name

    async def run(self, work: Callable[[], Awaitable[str]]) -> str:
        async def unremembered() -> str:
            try:
                return await work()
            except Exception as error:
                raise _FailedError(error) from error

        try:
            return await self._reserved.run_async({"name": self._name}, unremembered)
        except _FailedError as failed:
            raise failed.error from failed.error.__cause__


class _FailedError(BaseException):
    """Carry an error past DBOS, which would remember it and raise it again in every later life."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
