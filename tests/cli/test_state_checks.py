"""What the doctor says of shared state, over a real Redis and over none."""

from pathlib import Path

from msgspec.structs import replace
from tests.state.redisserver import running

from askonce.cli.state_checks import state_problem
from askonce.config.settings import Config


def test_a_server_that_answers_is_told_with_its_version_and_what_is_risky(tmp_path: Path) -> None:
    with running(tmp_path / "redis", "--maxmemory-policy", "allkeys-lru") as redis:
        problem, well = state_problem(replace(Config(), state_url=redis.url))
    assert problem == ""
    assert f"at 127.0.0.1:{redis.port} answers" in well
    assert "set it to volatile-lru" in well


def test_one_that_is_away_or_refuses_is_told_without_the_password(tmp_path: Path) -> None:
    away = replace(Config(), state_url="redis://:hidden@127.0.0.1:1")
    assert state_problem(away) == ("127.0.0.1:1: Connect call failed ('127.0.0.1', 1)", "")
    with running(tmp_path / "redis", "--requirepass", "right") as redis:
        problem, _ = state_problem(replace(Config(), state_url=f"redis://:hidden@127.0.0.1:{redis.port}"))
    assert "refuses the user or the password" in problem
    assert "hidden" not in problem
