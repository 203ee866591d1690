"""Commands that work on the database, beside a server that runs over it: what they change is soon in force there."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_serve import DEADLINE_S, Server

pytestmark = pytest.mark.process
IN_FORCE_S = 1.0  # a change's promise
SLACK_S = 1.0  # for a machine on which other tests run


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    yield running
    running.close()


def well(server: Server, *arguments: str) -> Any:
    done = server.command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ask(server: Server, key: str, prompt: str) -> int:
    request = urllib.request.Request(
        f"{server.url()}/llm/generate",
        json.dumps({"prompt": prompt}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def becomes_true(seen: Callable[[], bool], within_s: float = DEADLINE_S) -> float:
    """Wait until something is seen; return the seconds that it took."""
    began = time.monotonic()
    while not seen():
        assert time.monotonic() - began < within_s
        time.sleep(0.02)
    return time.monotonic() - began


def test_keys_come_and_go_within_a_second(server: Server) -> None:
    key = well(server, "keys", "create", "a")
    becomes_true(lambda: ask(server, key["key"], "one") == 200)  # a server that just began reads its keys first
    second = well(server, "keys", "create", "b")
    becomes_true(lambda: ask(server, second["key"], "one") == 200, IN_FORCE_S + SLACK_S)
    well(server, "keys", "revoke", second["id"])
    becomes_true(lambda: ask(server, second["key"], "one") == 401, IN_FORCE_S + SLACK_S)
    assert ask(server, key["key"], "one") == 200


def test_budgets_that_are_set_bound_and_are_shown(server: Server) -> None:
    key = well(server, "keys", "create", "a")
    becomes_true(lambda: ask(server, key["key"], "one") == 200)
    well(server, "keys", "change", key["id"], "--budget", "1 request/month", "--budget", "1M tokens/day")
    asked = iter(range(100))
    becomes_true(lambda: ask(server, key["key"], f"other {next(asked)}") == 429)
    assert ask(server, key["key"], "one") == 200  # it is kept, and costs nothing
    (account,) = well(server, "budgets", "show", key["id"])
    used = {budget["metric"]: (budget["used"], budget["reserved"]) for budget in account["budgets"]}
    assert used["requests"] == (1, 0)
    assert used["tokens"][0] > 0


def test_what_was_asked_is_reported_and_the_audit_holds_with_the_servers_note(server: Server) -> None:
    key = well(server, "keys", "create", "a")
    becomes_true(lambda: ask(server, key["key"], "one") == 200)
    ask(server, key["key"], "two")
    becomes_true(lambda: len(well(server, "requests")) == 2)
    assert well(server, "usage", "--by", "key")["rows"][0]["misses"] == 2
    assert well(server, "audit", "verify")["sound"]

    def is_noted() -> bool:
        return not any("No end was ever noted" in doubt for doubt in well(server, "audit", "verify")["unproven"])

    becomes_true(is_noted)
    becomes_true(lambda: any(row["action"] == "key.created" for row in well(server, "audit", "show")))


def look(server: Server, key: str, path: str) -> Any:
    request = urllib.request.Request(server.url() + path, headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_commands_print_what_the_doors_of_administration_answer(server: Server) -> None:
    root = well(server, "keys", "create", "root", "--scope", "root", "--budget", "$5/day")
    becomes_true(lambda: ask(server, root["key"], "one") == 200)
    well(server, "tenants", "create", "acme", "--budget", "$1/month")
    well(server, "users", "create", "ada@example.org", "--tenant", "acme")
    becomes_true(lambda: len(well(server, "requests")) == 1)
    assert look(server, root["key"], "/admin/keys")["keys"] == well(server, "keys", "list")
    assert look(server, root["key"], "/admin/tenants")["tenants"] == well(server, "tenants", "list")
    assert look(server, root["key"], "/admin/users")["users"] == well(server, "users", "list")
    assert look(server, root["key"], "/admin/requests")["requests"] == well(server, "requests")
    span = ("2020-01-01", "2090-01-01T00:00")
    door = look(server, root["key"], f"/admin/usage?by=key,model&from={span[0]}&to={span[1]}")
    assert door == well(server, "usage", "--by", "key,model", "--from", span[0], "--to", span[1])
    balance = look(server, root["key"], f"/admin/budgets?key={root['id']}")["budgets"][0]
    (account,) = well(server, "budgets", "show", root["id"])
    assert account["budgets"][0].items() <= balance.items()
