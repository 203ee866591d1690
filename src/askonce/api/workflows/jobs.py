"""The doors of jobs: questions and workflows in the background. A job is an execution, told in fewer words."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from askonce.api.entering import enter
from askonce.api.errands import Errand, Handler
from askonce.api.replies import JSON, NO_STORE, Reply, error_reply, json_reply
from askonce.api.requests import Request
from askonce.api.voices import OURS
from askonce.api.workflows.askable import check_nodes, check_question
from askonce.api.workflows.bodies import ATTEMPTS, JobBody, JobLinks, JobList, JobSubmitted, JobView, WebhookDelivery
from askonce.api.workflows.desk import WorkDesk
from askonce.api.workflows.documents import found, path_of
from askonce.api.workflows.execute import placed_headers
from askonce.api.workflows.executions import cancelled_by, listed, status_of
from askonce.api.workflows.questions import GENERATE, read_question
from askonce.api.workflows.reading import Asked, plan
from askonce.api.workflows.submitting import Order, Placed, Sender, place
from askonce.api.workflows.waiting import trouble
from askonce.domain.caller import Caller
from askonce.domain.errors import AskonceError, Detail, Invalid
from askonce.domain.executions import Execution, Executions, NodeRun, NoticeState
from askonce.domain.ports import Window
from askonce.wire.strict import invalid, read_body
from askonce.workflows.result import ErrorTold
from askonce.workflows.webhooks import check_webhook

PATH = "/llm/jobs"
_LIVE = ("stream", "streaming", "wait")
IN_BACKGROUND = "is not for work in the background: look at the job, or follow its events"


class JobDoor:
    """Take jobs in (POST /llm/jobs)."""

    def __init__(self, name: str, desk: WorkDesk) -> None:
        self._name = name
        self._desk = desk

    async def __call__(self, request: Request, caller: Caller, window: Window | None) -> Reply:
        """Answer one request. Raises what is refused before the admission; later errors are replies."""
        desk = self._desk
        executions = await desk.archive.open()
        raw = await request.json_body(desk.intake.body_limit, desk.intake.slow_bodies)
        order = self._order(read_body(JobBody, raw), caller)
        sender = Sender(caller, request, self._name, desk.clock.wall_ms())
        sender.retry_key()
        headers = await enter(window, desk.windows, desk.clock, OURS)
        try:
            placed = await place(executions, order, sender)
        except AskonceError as error:
            return error_reply(error, OURS.error(error, request.id), headers)
        if not placed.is_replay and not placed.is_double:
            desk.nudge()
        headers += placed_headers(placed, f"{PATH}/{placed.execution.id}")
        return json_reply(msgspec.json.encode(_submitted(placed)), headers, 202)

    def _order(self, body: JobBody, caller: Caller) -> Order:
        """Find a job right. Raises `Malformed`, `Invalid`."""
        if body.webhook is not None:
            check_webhook(body.webhook, self._desk.webhook_hosts)
        problems = [Detail(f"body.{name}", IN_BACKGROUND) for name in _LIVE if body.body.get(name)]
        if body.kind == "workflow" and body.attempts is not None:
            problems.append(Detail("attempts", "is for kind generate: nodes of a workflow have retries of their own"))
        longest = self._desk.timeout_s
        if (body.timeout or 0) > longest:
            problems.append(Detail("timeout", f"must be at most {longest:,}, the setting execution_timeout"))
        if problems:
            raise invalid(problems)
        name, work = self._work(body, caller)
        return Order(
            kind=body.kind,
            queue="generation" if body.kind == "generate" else "workflows",
            name=name,
            work=work,
            urgency=body.urgency,
            delay_s=body.delay,
            timeout_s=body.timeout or 0,
            attempts=(body.attempts or ATTEMPTS) if body.kind == "generate" else 1,
            dedup=body.dedup,
            webhook=body.webhook or "",
        )

    def _work(self, body: JobBody, caller: Caller) -> tuple[str, Raw]:
        """Return a job's name and what is kept of its body."""
        try:
            if body.kind == "generate":
                ask, work = read_question(GENERATE, msgspec.json.encode(body.body), caller.tenant)
                check_question(ask, caller, self._desk.choose)
                return body.kind, work
            graph, input = plan({name: value for name, value in body.body.items() if name not in ("stream", "wait")})
            check_nodes(graph, caller, self._desk.choose)
            return graph.name, Asked(graph, input).work
        except Invalid as error:
            within = [Detail(f"body.{one.field}", one.problem) for one in error.details]
            raise Invalid(f"In the job's body: {error.message}", details=within) from None


def job_handlers(desk: WorkDesk) -> dict[str, Handler]:
    """Return the handlers by their doors' names."""

    async def jobs(errand: Errand) -> Struct:
        page = await listed(await desk.archive.open(), errand.caller, errand.query)
        return JobList(tuple(map(_line, page.executions)), page.after or None)

    async def job(errand: Errand) -> Struct:
        store = await desk.archive.open()
        execution = await found(store, errand.key, errand.caller.tenant)
        return job_view(execution, await store.nodes(execution.id), await _told(store, execution))

    async def result(errand: Errand) -> Reply:
        store = await desk.archive.open()
        execution = await found(store, errand.key, errand.caller.tenant)
        error = await trouble(store, execution)
        if error is not None:
            raise error
        return Reply(200, [JSON, NO_STORE], bytes(execution.result))

    async def cancel(errand: Errand) -> Reply:
        store = await desk.archive.open()
        cancelled = await cancelled_by(desk, store, errand)
        view = job_view(cancelled, await store.nodes(cancelled.id), await _told(store, cancelled))
        return json_reply(msgspec.json.encode(view), status=status_of(cancelled))

    return {"jobs": jobs, "job": job, "job_result": result, "cancel_job": cancel}


async def _told(store: Executions, execution: Execution) -> NoticeState | None:
    return await store.notice(execution.id) if execution.submission.webhook else None


def job_view(execution: Execution, runs: tuple[NodeRun, ...], told: NoticeState | None) -> JobView:
    """Tell of a job that was found whole."""
    submission = execution.submission
    return JobView(
        **_common(execution),
        attempts=max((run.attempts for run in runs), default=0),
        max_attempts=submission.attempts if submission.kind == "generate" else UNSET,
        timeout=submission.timeout_s or UNSET,
        webhook=submission.webhook or UNSET,
        webhook_delivery=UNSET
        if told is None
        else WebhookDelivery(told.status, told.tries, told.problem or UNSET, told.next_ms or UNSET),
    )


def _line(execution: Execution) -> JobView:
    return JobView(**_common(execution))


def _common(execution: Execution) -> dict[str, Any]:
    submission = execution.submission
    return {
        "id": execution.id,
        "kind": submission.kind,
        "name": submission.name,
        "queue": submission.queue,
        "urgency": submission.urgency,
        "status": execution.status,
        "progress": execution.progress,
        "created_at": submission.created_ms,
        "not_before": submission.not_before_ms,
        "started_at": execution.started_ms,
        "ended_at": execution.ended_ms,
        "cost_nano": execution.totals.cost_nano,
        "saved_nano": execution.totals.saved_nano,
        "links": _links(execution.id),
        "error": ErrorTold(execution.error_code, execution.error) if execution.error_code else UNSET,
        "cancelling": True if execution.wish == "cancel" and not execution.has_ended else UNSET,
        "dedup": submission.dedup or UNSET,
        "batch": submission.batch or UNSET,
        "line": submission.line if submission.batch else UNSET,
    }


def _links(id: str) -> JobLinks:
    path = f"{PATH}/{id}"
    return JobLinks(path, f"{path}/result", f"{path_of(id)}/events", path)


def _submitted(placed: Placed) -> JobSubmitted:
    execution = placed.execution
    double: Literal[True] | UnsetType = True if placed.is_double else UNSET
    return JobSubmitted(execution.id, execution.id, execution.status, _links(execution.id), double)
