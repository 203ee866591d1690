"""`askonce run`, `executions` and `jobs` against a small server: what is sent, what is printed, how they end."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_commands import askonce

from askonce.cli.exits import Misused
from askonce.cli.run import View, read_body

GRAPH = """
nodes:
  - {id: plan, type: plan, prompt: "Plan {{input.what}} for {{input.whom}}."}
  - id: build
    type: build
    dependsOn: [plan]
"""
RESULT = {
    "code": "print(1)",
    "files": [{"path": "src/a.py", "language": "python", "content": "print(1)"}],
    "summary": "1 file written.",
}


def node(id: str, status: str, **more: Any) -> dict[str, Any]:
    known = {"attempts": 1, "provider": "fake", "model": "m", "cache": "miss", "cost": "$0.0012", "costNano": 1_200_000}
    return {"id": id, "type": id, "status": status} | known | more


def execution(id: str, status: str, **more: Any) -> dict[str, Any]:
    totals = {"totalTokens": 1234, "cost": "$0.0024", "costNano": 2_400_000, "saved": "$0.0000", "savedNano": 0}
    common = {"id": id, "kind": "workflow", "name": "custom", "queue": "workflows", "status": status, "progress": 100}
    times = {"round": 1, "createdAt": 1_700_000_000_000, "startedAt": 1_700_000_000_000, "endedAt": 1_700_000_002_500}
    return {**common, **times, "totals": totals, **more}


GOOD = execution("good", "succeeded", nodes=[node("plan", "succeeded"), node("build", "succeeded")], result=RESULT)
BAD = execution(
    "bad",
    "failed",
    nodes=[
        node("plan", "succeeded"),
        node("build", "failed", error={"message": "It broke.", "code": "provider_error"}),
    ],
    error={"message": "It broke.", "code": "provider_error"},
)
EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("execution", {"id": "x", "status": "running"}),
    ("node", {"id": "plan", "status": "running", "attempts": 1}),
    ("text", {"id": "plan", "at": 0, "text": "Gears \x1b[31m and"}),
    ("text", {"id": "plan", "at": 6, "text": " hands."}),
    ("node", {"id": "plan", "status": "waiting", "waitsFor": "over_budget", "error": "Wait."}),
    ("node", node("plan", "succeeded", score=93)),
    ("done", {"id": "x", "status": "succeeded"}),
]
JOB = execution("j1", "running") | {
    "urgency": "HIGH", "notBefore": 0, "attempts": 1, "maxAttempts": 3, "costNano": 5, "savedNano": 0,
}  # fmt: skip
QUEUE = dict.fromkeys(("queued", "delayed", "running", "succeeded", "failed", "cancelled"), 7) | {
    "name": "batch", "paused": True, "oldest": 0,
}  # fmt: skip
BATCH = {
    "id": "b1", "status": "in_progress", "cost_nano": 5_000_000, "saved_nano": 0,
    "request_counts": {"total": 3, "completed": 1, "failed": 0, "cancelled": 0},
}  # fmt: skip
FOUND: dict[str, Any] = {
    "/llm/executions/good": GOOD,
    "/llm/executions/bad": BAD,
    "/llm/executions?limit=20": {"executions": [GOOD, BAD], "next": None},
    "/llm/executions?status=failed&limit=1": {"executions": [], "next": None},
    "/llm/jobs?queue=batch&limit=20": {"jobs": [JOB], "next": None},
    "/llm/jobs/j1": JOB,
    "/llm/jobs/j1/result": RESULT,
    "/llm/queues": {"queues": [QUEUE]},
    "/llm/jobs/hooked": JOB | {"webhookDelivery": {"status": "given_up", "tries": 9, "problem": "it answered 410"}},
    "/llm/batches/b1": BATCH,
    "/llm/batches/b2": BATCH | {"status": "completed"},
    "/llm/batches/b2/results": {"custom_id": "1"},
}
POSTED: dict[str, Any] = {
    "/llm/jobs": {"jobId": "j9", "deduplicated": True},
    "/llm/batches": BATCH,
    "/llm/executions/bad/resume": {"executionId": "bad", "status": "queued"},
    "/llm/queues/batch/pause": QUEUE,
    "/llm/queues/batch/resume": QUEUE | {"paused": False},
}
DELETED: dict[str, Any] = {
    "/llm/executions/good": GOOD | {"status": "running", "cancelling": True},
    "/llm/jobs/j1": JOB | {"status": "cancelled"},
}
NOT_FINISHED = {"error": "Not finished", "message": "It is running.", "code": "not_finished", "requestId": "r"}


class Handler(BaseHTTPRequestHandler):
    """Answer as the contract says; `ending` chooses how a run ends, `breaks` how often its events break off."""

    heard: list[tuple[str, str, Any, str]] = []  # noqa: RUF012 - the server makes the instances
    ending = "good"
    breaks = 0

    def do_GET(self) -> None:
        self._hear(None)
        if self.path.endswith("/events"):
            self._tell_events()
        elif self.path in FOUND:
            self._reply(200, FOUND[self.path])
        else:
            self._reply(404, NOT_FINISHED)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        body = raw if self.headers["Content-Type"] == "application/jsonl" else json.loads(raw)
        self._hear(body)
        if self.path == "/llm/execute-workflow":
            self._reply(202, {"executionId": Handler.ending, "status": "queued"})
        else:
            self._reply(200, POSTED[self.path])

    def do_DELETE(self) -> None:
        self._hear(None)
        self._reply(200, DELETED[self.path])

    def _tell_events(self) -> None:
        """Tell those behind Last-Event-ID; break off in the middle of the third one as often as `breaks` says."""
        first = int(self.headers.get("Last-Event-ID", "0"))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b": still here\n\n")
        for number, (name, data) in enumerate(EVENTS[first:], first + 1):
            event = f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()
            if Handler.breaks and number % 3 == 0:
                Handler.breaks -= 1
                self.wfile.write(event[:10])
                self.close_connection = True
                return
            self.wfile.write(event)
        self.close_connection = True

    def _hear(self, body: Any) -> None:
        self.heard.append((self.command, self.path, body, self.headers.get("Last-Event-ID", "")))

    def _reply(self, status: int, told: object) -> None:
        raw = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    Handler.heard.clear()
    Handler.ending, Handler.breaks = "good", 0
    (tmp_path / "graph.yaml").write_text(GRAPH)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()
        thread.join()


def test_running_a_graph_prints_its_code_alone_and_what_it_took_on_the_side(tmp_path: Path, server: str) -> None:
    (tmp_path / "who.txt").write_text("sailors")
    inputs = ("--input", "what=a clock = 1", "-i", "whom=@who.txt")
    done = askonce(tmp_path, "run", "graph.yaml", *inputs, "--url", server)
    assert (done.returncode, done.stdout) == (0, "print(1)\n"), done.stderr
    assert done.stderr == "[good] 2 nodes, 1,234 tokens, $0.0024, saved $0.0000, 2.5 s\n1 file written.\n"
    method, path, body, _ = Handler.heard[0]
    assert (method, path, body["wait"]) == ("POST", "/llm/execute-workflow", False)
    assert body["input"] == {"what": "a clock = 1", "whom": "sailors"}
    assert [one["id"] for one in body["graph"]["nodes"]] == ["plan", "build"]


def test_watching_tells_each_change_and_survives_broken_connections(tmp_path: Path, server: str) -> None:
    Handler.breaks = 1
    done = askonce(tmp_path, "run", "graph.yaml", "--watch", "--url", server)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[:3] == [
        "plan: running",
        "plan: waits: over_budget (Wait.)",
        "plan: succeeded, 93 (fake:m, $0.0012)",
    ]
    assert [last for _, path, _, last in Handler.heard if path.endswith("/events")] == ["", "2"]


def test_a_run_that_failed_says_which_node_and_how_to_go_on(tmp_path: Path, server: str) -> None:
    Handler.ending = "bad"
    done = askonce(tmp_path, "run", "graph.yaml", "--url", server)
    assert (done.returncode, done.stdout) == (1, "")
    assert "bad failed: It broke. (provider_error)" in done.stderr
    assert "askonce executions resume bad" in done.stderr
    as_json = askonce(tmp_path, "run", "graph.yaml", "--json", "--url", server)
    assert (as_json.returncode, json.loads(as_json.stdout)) == (1, BAD)


def test_files_are_written_into_the_folder_and_nothing_is_replaced_unasked(tmp_path: Path, server: str) -> None:
    arguments = ("run", "graph.yaml", "--out", "made", "--url", server)
    done = askonce(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (0, "")
    assert (tmp_path / "made" / "src" / "a.py").read_text() == "print(1)\n"
    assert "--force" in askonce(tmp_path, *arguments).stderr
    assert askonce(tmp_path, "jobs", "result", "j1", "--out", "made", "--force", "--url", server).returncode == 0


def test_detached_it_prints_the_id_and_does_not_wait(tmp_path: Path, server: str) -> None:
    done = askonce(tmp_path, "run", "graph.yaml", "--detach", "--url", server)
    assert (done.returncode, done.stdout) == (0, "good\n")
    assert len(Handler.heard) == 1
    assert askonce(tmp_path, "run", "graph.yaml", "--detach", "--watch", "--url", server).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["executions", "list"], 0, "workflow  custom  failed"),
        (["executions", "list", "--status", "failed", "-n", "1"], 0, "There are none."),
        (["executions", "show", "bad"], 0, "It broke. (provider_error)"),
        (["executions", "show", "good"], 0, "1,234 tokens, $0.0024, saved $0.0000"),
        (["executions", "resume", "bad"], 0, "bad is queued."),
        (["executions", "cancel", "good"], 0, "good is cancelling."),
        (["jobs", "list", "--queue", "batch"], 0, "HIGH"),
        (["jobs", "show", "j1"], 0, "1 of 3 tries"),
        (["jobs", "result", "j1"], 0, "print(1)"),
        (["jobs", "result", "j2"], 4, "It is running. (404 not_finished)"),
        (["jobs", "cancel", "j1"], 0, "j1 is cancelled."),
        (["jobs", "stats"], 0, "paused"),
        (["jobs", "pause", "batch"], 0, "batch is paused, with 14 in it."),
        (["jobs", "resume", "batch"], 0, "batch goes on, with 14 in it."),
        (["jobs", "show", "hooked"], 0, "webhook: given up after 9 tries: it answered 410"),
        (["jobs", "results", "b1"], 0, "in progress: 3 lines, 1 completed; $0.0050, $0.0000 saved"),
        (["jobs", "results", "b2"], 0, '{"custom_id": "1"}'),
        (["jobs", "submit"], 2, "Say what to ask"),
        (["jobs", "submit", "x", "--graph", "graph.yaml"], 2, "goes with no question"),
        (["jobs", "batch", "none.jsonl"], 2, "none.jsonl: No such file"),
        (["jobs", "show", "../x"], 4, "not_finished"),
    ],
)
def test_looking_stopping_and_going_on(
    tmp_path: Path, server: str, arguments: list[str], exit_code: int, says: str
) -> None:
    done = askonce(tmp_path, *arguments, "--url", server)
    assert done.returncode == exit_code, done.stderr
    assert says in done.stdout + done.stderr


def test_a_job_is_submitted_as_it_was_wished_for(tmp_path: Path, server: str) -> None:
    wishes = ("--urgency", "high", "--delay", "60", "--dedup", "n", "--timeout", "9", "--webhook", "https://h/")
    done = askonce(tmp_path, "jobs", "submit", "a haiku", "--model", "a:b", *wishes, "--url", server)
    assert (done.returncode, done.stdout) == (0, "j9\n"), done.stderr
    assert "not done twice" in done.stderr
    assert askonce(tmp_path, "jobs", "submit", "--graph", "graph.yaml", "--url", server).returncode == 0
    asked, graph = (body for _, _, body, _ in Handler.heard)
    assert asked == {
        "kind": "generate", "body": {"prompt": "a haiku", "model": "a:b"}, "urgency": "HIGH", "delay": 60,
        "dedup": "n", "timeout": 9, "webhook": "https://h/",
    }  # fmt: skip
    assert (graph["kind"], [one["id"] for one in graph["body"]["graph"]["nodes"]]) == ("workflow", ["plan", "build"])


def test_a_batch_is_sent_as_its_file_is(tmp_path: Path, server: str) -> None:
    (tmp_path / "lines.jsonl").write_bytes(b'{"custom_id": "1"}\n\xff')
    done = askonce(tmp_path, "jobs", "batch", "lines.jsonl", "--url", server)
    assert (done.returncode, done.stdout) == (0, "b1\n"), done.stderr
    assert Handler.heard == [("POST", "/llm/batches", b'{"custom_id": "1"}\n\xff', "")]


@pytest.mark.parametrize(
    ("text", "inputs", "says"),
    [
        ("a: [", (), "neither YAML nor JSON at line 1"),
        ("- 1", (), "holds no graph"),
        ("", (), "holds no graph"),
        ("prompt: x", ("a=b",), "wishes for the standard workflow"),
        ("nodes: []\n", ("a",), "name=value"),
        ("nodes: []\n", ("a=@none",), "No such file"),
        ("graph: {}\ninput: 3", ("a=b",), "input must hold"),
    ],
)
def test_a_file_that_is_no_graph_is_refused_before_anything_is_sent(
    tmp_path: Path, text: str, inputs: tuple[str, ...], says: str
) -> None:
    (tmp_path / "g.yaml").write_text(text)
    with pytest.raises(Misused) as refused:
        read_body(tmp_path / "g.yaml", list(inputs))
    assert says in refused.value.message


def test_files_may_hold_a_graph_with_its_input_a_bare_graph_or_a_wish(tmp_path: Path) -> None:
    path = tmp_path / "g.json"
    for text, inputs, body in [
        ('{"nodes": []}', [], {"graph": {"nodes": []}}),
        ('{"graph": {}, "input": {"a": 1, "b": 2}}', ["a=x"], {"graph": {}, "input": {"a": "x", "b": 2}}),
        ('{"prompt": "x", "stream": true}', [], {"prompt": "x"}),
    ]:
        path.write_text(text)
        assert read_body(path, inputs) == body


def test_the_view_shows_what_nodes_do_and_no_control_characters() -> None:
    view = View([{"id": "plan", "type": "plan"}, {"id": "build", "type": "build"}])
    lines = [view.take(name, data) for name, data in EVENTS[:4]]
    assert lines == ["", "plan: running", "", ""]
    cells = [list(column.cells) for column in view.table().columns]
    assert str(cells[5][0]) == "Gears [31m and hands."
    assert [str(cell) for cell in cells[2]] == ["running", "waiting"]
