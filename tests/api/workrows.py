"""What the doors of workflows are tried over: rows in memory, and a worker that is told what to do."""

from collections.abc import Sequence

import msgspec
from msgspec import Raw
from msgspec.structs import replace
from tests.workflows.workflow_world import MemoryExecutions

from askonce.domain.errors import Detail, Invalid
from askonce.domain.executions import Execution, ExecutionPage, ExecutionQuestion, NodeRun, Room, Submission
from askonce.workflows.events import ending_events, node_event, text_event

ANSWER = {
    "code": "print(1)",
    "files": [],
    "summary": "0 files written.",
    "metadata": {
        "totalTokens": 0,
        "totalCost": "$0.0000",
        "totalCostNano": 0,
        "executionTime": 1,
        "modelsUsed": [],
        "cachedNodes": 0,
        "saved": "$0.0000",
        "savedNano": 0,
    },
    "workflow": {"id": "x", "name": "standard", "nodes": 0, "executionTime": 1},
}
ALL = tuple(Room(queue, 1_000) for queue in ("workflows", "generation", "batch"))


class WorkRows(MemoryExecutions):
    """Keep executions. `at_once`: what is submitted has succeeded already."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once = False
        self.looks = 0
        self.away: Exception | None = None

    async def open(self) -> "WorkRows":
        """Open the archive, or be away."""
        if self.away is not None:
            raise self.away
        return self

    async def submit(self, submissions: Sequence[Submission]) -> tuple[Execution, ...]:
        """Write new ones."""
        written = await super().submit(submissions)
        if self.at_once:
            await self.take()
            for execution in written:
                await self.succeed(execution.id)
        return tuple(self.rows[execution.id] for execution in written) if self.at_once else written

    async def page(self, question: ExecutionQuestion) -> ExecutionPage:
        """List; a cursor that is none is refused, as by the real store."""
        if not question.after.isascii() or not (question.after or "0").isdigit():
            raise Invalid("after is no cursor.", details=[Detail("after", "is no cursor")])
        page = await super().page(question)
        return ExecutionPage(tuple(replace(one, result=Raw(b"null")) for one in page.executions), page.after)

    async def events(self, after, size):
        """Return the next ones, counting how often that is asked."""
        self.looks += 1
        return await super().events(after, size)

    async def take(self) -> tuple[Execution, ...]:
        """Take everything that is queued."""
        return await self.claim(ALL, "w", 1 << 60)

    async def say(self, id: str, node: str, *words: str) -> None:
        """Let a node run and say something."""
        run = NodeRun(id, node, "running", attempts=1)
        await self.keep(self.rows[id].turn, run, [node_event(run)], 0)
        at = 0
        for word in words:
            await self.tell(self.rows[id].turn, [text_event(node, at, word)])
            at += len(word)

    async def leave(self, id: str, **fields) -> NodeRun:
        """Let a node end."""
        run = NodeRun(id, fields.pop("node"), fields.pop("status", "succeeded"), attempts=1, ended_ms=1, **fields)
        await self.keep(self.rows[id].turn, run, [node_event(run)], 100)
        return run

    async def succeed(self, id: str, result: object = ANSWER) -> None:
        """Let an execution succeed."""
        ended = replace(self.rows[id], status="succeeded", progress=100, ended_ms=self.now_ms())
        ended = replace(ended, result=Raw(msgspec.json.encode(result)))
        assert await self.end(ended, ending_events(ended))

    async def fail(self, id: str, code: str = "provider_error", error: str = "It broke.") -> None:
        """Let an execution fail."""
        ended = replace(self.rows[id], status="failed", ended_ms=self.now_ms(), error_code=code, error=error)
        assert await self.end(ended, ending_events(ended))
