"""What is shipped for Prometheus and Grafana fits what a running server shows: a real Prometheus scrapes it."""

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.state.redisserver import free_port
from tests.system.clients import post_now, request_now
from tests.system.houses import House, eventually

from askonce.telemetry.catalog import METRICS

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus"
BOARD = ROOT / "deploy" / "grafana" / "askonce.json"
PAGE = ROOT / "docs" / "metrics.md"
VARIABLES = {"$__rate_interval": "10s", "$instance": ".*"}


def tool(name: str) -> str:
    """Find one of Prometheus' programs."""
    found = shutil.which(name)
    assert found is not None, f"{name} is missing: apt-get install prometheus"
    return found


def promtool(*arguments: str, folder: Path = RULES, given: str = "") -> str:
    """Run promtool; return what it complains of, "" for nothing."""
    command = [tool("promtool"), *arguments]
    done = subprocess.run(command, cwd=folder, input=given, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 and not done.stderr else f"{done.returncode}: {done.stdout}{done.stderr}"


def expressions() -> dict[str, str]:
    """Return what the board asks for, by its panels' titles."""
    found = {}
    for panel in json.loads(BOARD.read_text())["panels"]:
        for target in panel["targets"]:
            asked = target["expr"]
            for name, value in VARIABLES.items():
                asked = asked.replace(name, value)
            found[f"{panel['title']} {target['refId']}"] = asked
    return found


@contextmanager
def prometheus(folder: Path, target: int) -> Iterator[int]:
    """Run Prometheus over the shipped configuration, asking each second; yield its port."""
    folder.mkdir()
    config = yaml.safe_load((RULES / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(RULES / "alerts.yml")]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    files = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [tool("prometheus"), *files, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log
        )
    try:
        yield port
    finally:
        process.terminate()
        process.wait(20)


def asked(port: int, path: str, **query: str) -> Any:
    """Ask Prometheus; None while it does not answer."""
    address = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    try:
        with urllib.request.urlopen(address, timeout=10) as reply:
            return json.load(reply)["data"]
    except urllib.error.HTTPError as error:
        if error.code == 503:  # it starts
            return None
        raise AssertionError(f"{query}: {error.read().decode()}") from error
    except OSError:
        return None


def found(port: int, expression: str) -> list[Any]:
    """Return what Prometheus finds now, nothing while it does not answer."""
    answer = asked(port, "query", query=expression)
    return [] if answer is None else list(answer["result"])


def test_the_rules_and_the_configuration_by_promtool() -> None:
    assert promtool("check", "rules", "alerts.yml") == ""
    assert promtool("check", "config", "prometheus.yml") == ""
    assert promtool("test", "rules", "alerts_test.yml") == ""


def test_every_metric_is_documented_and_every_documented_one_exists() -> None:
    rows = dict(re.findall(r"^\| `(askonce_\w+)` \| (\w+) \|", PAGE.read_text(), re.MULTILINE))
    assert rows == {metric.shown_name: metric.kind for metric in METRICS}


def test_the_pages_labels_are_the_metrics() -> None:
    rows = re.findall(r"^\| `(askonce_\w+)` \| \w+ \| ([^|]*) \|", PAGE.read_text(), re.MULTILINE)
    told = {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert told == {metric.shown_name: metric.labels for metric in METRICS}


def test_rules_and_board_ask_for_nothing_that_does_not_exist() -> None:
    texts = [(RULES / "alerts.yml").read_text(), *expressions().values()]
    suffixes = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    known = {metric.shown_name + suffix for metric in METRICS for suffix in suffixes[metric.kind]}
    used = {name for text in texts for name in re.findall(r"askonce_\w+", text)}
    assert used <= known
    assert len(used) > 15


@pytest.mark.process
def test_a_real_prometheus_scrapes_a_running_server_and_answers_the_board(tmp_path: Path) -> None:
    house = House(tmp_path, 'workers = 2\nlimit_llm = "off"').start()
    try:
        with prometheus(tmp_path / "prometheus", house.port) as port:
            eventually(lambda: found(port, "askonce_build_info"), "the first scrape")
            for number in range(40):
                post_now(house.port, {"prompt": f"p{number % 10}"})
            whole = 'sum(askonce_requests_total{door="generate"})'
            eventually(lambda: [one["value"][1] for one in found(port, whole)] == ["40"], "all are counted")
            post_now(house.port, {"prompt": "one more, so that rates see a change"})
            board = {title: lambda ask=ask: asked(port, "query", query=ask) for title, ask in expressions().items()}
            assert all(ask()["resultType"] == "vector" for ask in board.values())
            eventually(lambda: board["Requests A"]()["result"] != [], "rates of two scrapes")
            # Nobody was refused, and no workflow ran.
            empty = {title for title, ask in board.items() if not ask()["result"]}
            assert empty <= {"Refusals A"}
            states = {rule["name"]: rule for group in asked(port, "rules")["groups"] for rule in group["rules"]}
            assert states["AskonceDown"]["health"] == "ok"
            assert {rule["state"] for rule in states.values()} <= {"inactive", "pending"}
            shown = request_now(house.port, "/metrics").text
            assert promtool("check", "metrics", given=shown) == ""
            assert set(re.findall(r"^# TYPE (\w+)", shown, re.MULTILINE)) == {metric.shown_name for metric in METRICS}
    finally:
        house.end()
