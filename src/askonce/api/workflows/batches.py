"""The doors of batches: many questions in one body, a line each, in the shape of OpenAI's batch files.

Every line is found right before any is written. A batch is nothing but its lines: executions that name it. So it is
there for as long as they are kept.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from askonce.api.asking import REPLAYED
from askonce.api.entering import enter
from askonce.api.errands import Errand, Handler
from askonce.api.replies import NO_STORE, Headers, Reply, StreamReply, error_reply, json_reply, nothing_held
from askonce.api.requests import Request
from askonce.api.voices import OURS, voice_of
from askonce.api.workflows.askable import check_question
from askonce.api.workflows.batch_lines import Line, read_lines
from askonce.api.workflows.bodies import BatchView, RequestCounts
from askonce.api.workflows.desk import WorkDesk
from askonce.api.workflows.submitting import REUSED, Sender, judged, submission_of
from askonce.domain.caller import Caller
from askonce.domain.errors import BY_CODE, AskonceError, Detail, KeyReused, NotFinished, NotFound, error_from_code
from askonce.domain.executions import Execution, ExecutionQuestion, Executions, Submission
from askonce.domain.ports import Window
from askonce.wire.strict import PROBLEMS_MAX, invalid
from askonce.workflows.question_job import addressed

PATH = "/llm/batches"
KINDS = (b"application/jsonl", b"application/x-ndjson")
LINES = (b"content-type", b"application/jsonl")
IN_ONE_GO = 50  # lines, so that nobody else waits for more than some milliseconds
PAGE = 500
CANCELLED, STOPPED = "batch_cancelled", "It was cancelled before it was done."
NO_SUCH = "There is no such batch, or all of it ended long ago."


class BatchDoor:
    """Take batches in (POST /llm/batches)."""

    def __init__(self, name: str, desk: WorkDesk) -> None:
        self._name = name
        self._desk = desk

    async def __call__(self, request: Request, caller: Caller, window: Window | None) -> Reply:
        """Answer one request. Raises what is refused before the admission; later errors are replies."""
        desk = self._desk
        executions = await desk.archive.open()
        raw = await request.json_body(desk.intake.body_limit, desk.intake.slow_bodies, KINDS)
        lines = await asyncio.to_thread(read_lines, raw, caller.tenant)  # many lines take a tenth of a second
        await self._check(lines, caller)
        sender = Sender(caller, request, self._name, desk.clock.wall_ms())
        batch = sender.id("batch")
        headers = await enter(window, desk.windows, desk.clock, OURS)
        try:
            there = await lines_of(executions, batch, caller.tenant) if sender.retry_key() else []
            if there and len(there) != len(lines):
                raise KeyReused(REUSED)
            wanted = [_submission(line, number, batch, sender) for number, line in enumerate(lines, 1)]
            placed = await executions.submit(wanted)
            replays = [judged(ours, found).is_replay for ours, found in zip(wanted, placed, strict=True)]
        except AskonceError as error:
            return error_reply(error, OURS.error(error, request.id), headers)
        desk.nudge()
        headers.append((b"location", f"{PATH}/{batch}".encode()))
        if all(replays):
            headers.append(REPLAYED)
        return json_reply(msgspec.json.encode(batch_view(batch, placed)), headers, 202)

    async def _check(self, lines: Sequence[Line], caller: Caller) -> None:
        """Raise `Invalid`, which names the lines that nobody could answer."""
        problems: list[Detail] = []
        for number, line in enumerate(lines, 1):
            try:
                check_question(line.ask, caller, self._desk.choose)
            except AskonceError as error:
                problems.append(Detail(f"lines[{number}].body", f"cannot be asked: {error.message.rstrip('.')}"))
            if len(problems) >= PROBLEMS_MAX:
                break
            if not number % IN_ONE_GO:
                await asyncio.sleep(0)
        if problems:
            raise invalid(problems)


def _submission(line: Line, number: int, batch: str, sender: Sender) -> Submission:
    submission = submission_of(line.order, sender, sender.id("exec", part=f"{batch} {number}"))
    return replace(submission, batch=batch, line=number)


async def lines_of(executions: Executions, batch: str, tenant: str) -> list[Execution]:
    """Return a batch's lines in order, without their work and results. Raises `DatabaseAway`."""
    found: list[Execution] = []
    after = ""
    while True:
        page = await executions.page(ExecutionQuestion(tenant=tenant, batch=batch, after=after, size=PAGE))
        found += page.executions
        after = page.after
        if not after:
            return sorted(found, key=lambda execution: execution.submission.line)


def batch_view(id: str, lines: Sequence[Execution]) -> BatchView:
    """Tell of a batch."""
    counts = {status: sum(line.status == status for line in lines) for status in ("succeeded", "failed", "cancelled")}
    is_done = all(line.has_ended for line in lines)
    only_cancelled = counts["cancelled"] == len(lines)
    return BatchView(
        id=id,
        object="batch",
        status="in_progress" if not is_done else "cancelled" if only_cancelled else "completed",
        request_counts=RequestCounts(len(lines), counts["succeeded"], counts["failed"], counts["cancelled"]),
        created_at=min(line.submission.created_ms for line in lines) // 1000,
        completed_at=max(line.ended_ms for line in lines) // 1000 if is_done else None,
        results=f"{PATH}/{id}/results",
        cost_nano=sum(line.totals.cost_nano for line in lines),
        saved_nano=sum(line.totals.saved_nano for line in lines),
    )


def batch_handlers(desk: WorkDesk) -> dict[str, Handler]:
    """Return the handlers by their doors' names."""

    async def whole(errand: Errand) -> list[Execution]:
        lines = await lines_of(await desk.archive.open(), errand.key, errand.caller.tenant)
        if not lines:
            raise NotFound(NO_SUCH)
        return lines

    async def batch(errand: Errand) -> Struct:
        return batch_view(errand.key, await whole(errand))

    async def results(errand: Errand) -> Reply | StreamReply:
        lines = await whole(errand)
        left = sum(not line.has_ended for line in lines)
        if left:
            words = f"{left:,} of {len(lines):,} lines have not ended yet. GET {PATH}/{errand.key} counts them."
            raise NotFinished(words, retry_after_s=5)
        headers: Headers = [LINES, NO_STORE]
        return StreamReply(headers, _results(await desk.archive.open(), lines), nothing_held)

    async def cancel(errand: Errand) -> Struct:
        store, tenant = await desk.archive.open(), errand.caller.tenant
        living = [line for line in await whole(errand) if not line.has_ended and not line.wish]
        for line in living:
            await store.wish_cancel(line.id, tenant, desk.clock.wall_ms())
        if living:
            desk.nudge()
            who = (errand.caller, errand.request)
            await desk.trail.note(who, "batch.cancelled", errand.key, lines=len(living))
        return batch_view(errand.key, await whole(errand))

    return {"batch": batch, "batch_results": results, "cancel_batch": cancel}


async def _results(executions: Executions, lines: Sequence[Execution]) -> AsyncGenerator[bytes, None]:
    """Yield a line for each that has ended, in their order."""
    for line in lines:
        whole = await executions.find(line.id, None)
        if whole is not None:
            yield msgspec.json.encode(_result(whole)) + b"\n"


class _Response(Struct, frozen=True):
    status_code: int
    request_id: str
    body: Raw


class _Result(Struct, frozen=True):
    id: str
    custom_id: str
    response: _Response | None
    error: dict[str, str] | None


def _result(execution: Execution) -> _Result:
    """Tell what came of a line as its door would have told it; what no door tells has no response."""
    id, submission = execution.id, execution.submission
    request_id = submission.request_id or id
    if execution.status == "succeeded":
        return _Result(id, submission.name, _Response(200, request_id, execution.result), None)
    if execution.status == "cancelled":
        return _Result(id, submission.name, None, {"code": CANCELLED, "message": STOPPED})
    if execution.error_code not in BY_CODE:  # such as time that was over: no door would have said that
        return _Result(id, submission.name, None, {"code": execution.error_code, "message": execution.error})
    error = error_from_code(execution.error_code, execution.error, None)
    body = Raw(voice_of(_url_of(submission)).error(error, request_id))
    return _Result(id, submission.name, _Response(error.status, request_id, body), None)


def _url_of(submission: Submission) -> str:
    return addressed(submission.work)[0]
