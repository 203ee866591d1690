"""What nodes do, by their type: write by a model, inspect what others wrote, or give an opinion of it.

plan, scaffold, build, validate   one question; the files are in the answer
quality                           no question, unless files do not parse: then whoever wrote them is asked once more
review                            one question, for an opinion; without an answer the opinion is absent
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from askonce.domain.call import Ask, CacheWish, Call, Params, RoutingWish
from askonce.domain.errors import AskonceError, DatabaseAway
from askonce.domain.executions import Submission
from askonce.domain.graph import Node
from askonce.domain.ports import Shape
from askonce.domain.tracing import work_span_id
from askonce.wire.fences import File, parse
from askonce.workflows.asking import Answered, Asking, Question
from askonce.workflows.crafts import Brief, Crafts, Inspection, Task
from askonce.workflows.files_of import files_of
from askonce.workflows.node import Decided, Job, Made, Pen

CUT_SHORT = "The answer was cut short: it is as long as was allowed (maxTokens)."


class Reach(Protocol):
    """Know how much a model reads."""

    def window(self, submission: Submission, routing: RoutingWish) -> int:
        """Return the tokens that whoever is likely to be asked reads. Does not raise."""
        ...


class Tools(Struct, frozen=True):
    """Hold what nodes work with. `shape` is that in which their answers are stored."""

    asking: Asking
    crafts: Crafts
    reach: Reach
    shape: Shape


class Making:
    """Do one node's work (port `node.Work`). `gather` brings together what it has to work with."""

    def __init__(self, tools: Tools, job: Job, gather: Callable[[], Task]) -> None:
        self._tools = tools
        self._job = job
        self._gather = gather

    def decide(self) -> Decided:
        """Look up how much the model reads."""
        return Decided(self._window_of(self._job.node))

    async def make(self, pen: Pen, decided: Decided) -> Made:
        """Do what the type says. Raises what the node fails with."""
        task = self._gather()
        if task.node.type == "quality":
            return await self._inspect(task, pen)
        if task.node.type == "review":
            return await self._review(task, decided, pen)
        return await self._write(self._tools.crafts.brief(task, decided.window), pen)

    async def _write(self, brief: Brief, pen: Pen) -> Made:
        answer = (await self._ask(self._job.node, brief, pen)).answer
        parsed = parse(answer.text)
        cut = CUT_SHORT if answer.finish == "length" else ""
        return Made(answer.text, parsed.files, _note(brief.note, cut, *parsed.warnings), answer=answer)

    async def _review(self, task: Task, decided: Decided, pen: Pen) -> Made:
        """Ask for an opinion; one that does not come is absent, and the node has done its part all the same."""
        crafts = self._tools.crafts
        try:
            brief = crafts.brief(task, decided.window)
            answer = (await self._ask(task.node, brief, pen)).answer
        except DatabaseAway:
            raise
        except AskonceError as error:
            reviewed = crafts.review(task, "", error.message)
            return Made(note=reviewed.note, report=reviewed.report)
        reviewed = crafts.review(task, answer.text, "")
        return Made(answer.text, (), _note(brief.note, reviewed.note), reviewed.report, answer=answer)

    async def _inspect(self, task: Task, pen: Pen) -> Made:
        """Inspect what is there, with what could be repaired of it."""
        crafts, files = self._tools.crafts, task.files
        before = await crafts.inspect(files)
        if not before.broken:
            return Made(report=before.report, score=before.score)
        repaired: dict[str, File] = {}
        notes: list[str] = []
        for writer, broken in _writers(task, before.broken):
            try:
                written, note = await self._repair(replace(task, node=writer), broken, before, pen)
                repaired |= written
                notes.append(note)
            except DatabaseAway:
                raise
            except AskonceError as error:
                notes.append(f"`{writer.id}` was asked to repair its files, and did not answer: {error.message}")
        after = await crafts.inspect(tuple(repaired.get(file.path, file) for file in files))
        mended = [path for path in before.broken if path in repaired and path not in after.broken]
        notes += [_listed("Repaired:", mended), _listed("These do not parse:", after.broken)]
        return Made("", tuple(repaired.values()), _note(*notes), after.report, after.score)

    async def _repair(
        self, task: Task, broken: Sequence[File], found: Inspection, pen: Pen
    ) -> tuple[dict[str, File], str]:
        """Ask once more whoever (`task.node`) wrote files that do not parse.

        Returns those that came back, by path, and the question's note.
        """
        brief = self._tools.crafts.repair(task, broken, found, self._window_of(task.node))
        answer = (await self._ask(task.node, brief, pen)).answer
        wanted = {file.path for file in broken}
        return {file.path: file for file in parse(answer.text).files if file.path in wanted}, brief.note

    async def _ask(self, of: Node, brief: Brief, pen: Pen) -> Answered:
        """Ask in the way of the node `of`: its model, its parameters."""
        job, submission = self._job, self._job.submission
        params = Params(temperature=of.temperature, max_tokens=brief.max_tokens, format=brief.format)
        call = Call(submission.submitter.tenant, brief.messages, params, stream=True)
        question = Question(
            Ask(call, routing_of(of), CacheWish()),
            self._tools.shape,
            submission,
            f"{submission.id}/{job.node.id}",
            job.node.attempts,
            pen.run.started_ms,
            job.until_ms,
            work_span_id(submission.id, job.turn.round, job.node.id),
        )
        return await self._tools.asking.answer(question, pen)

    def _window_of(self, node: Node) -> int:
        return self._tools.reach.window(self._job.submission, routing_of(node))


def routing_of(node: Node) -> RoutingWish:
    """Say who is wanted for a node: whom it names, else whoever its type of work is for."""
    if node.provider:
        return RoutingWish("manual", node.model or None, node.provider)
    if node.model:
        return RoutingWish("single-model", node.model)
    return RoutingWish("orchestrated", capabilities=(node.type,))


def _writers(task: Task, broken: Sequence[str]) -> list[tuple[Node, list[File]]]:
    """Tell who wrote the broken files last, with those files."""
    nodes = {node.id: node for node in task.graph.nodes}
    by_path = {file.path: file for file in task.files}
    wrote: dict[str, str] = {}
    for id, run in task.runs.items():
        wrote |= dict.fromkeys((file.path for file in files_of(run)), id)
    found: dict[str, list[File]] = {}
    for path in broken:
        if path in by_path and path in wrote:
            found.setdefault(wrote[path], []).append(by_path[path])
    return [(nodes[id], files) for id, files in found.items()]


def _listed(head: str, paths: Sequence[str]) -> str:
    return f"{head} {', '.join(paths)}." if paths else ""


def _note(*notes: str) -> str:
    return " ".join(note for note in notes if note)
