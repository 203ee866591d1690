"""What the doctor says of the database and the secret, without making or changing either."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import text
from tests.ledger.postgres import Postgres, postgres

from askonce.cli.ledger_checks import database_problem, secret_origin
from askonce.config.settings import Config
from askonce.ledger.engine import open_engine, writing
from askonce.ledger.migrate import migrate

__all__ = ["postgres"]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data_dir=str(tmp_path))


def make(config: Config, newer: bool = False) -> str:
    """Make the database, as this program or a later one would; return its step."""

    async def whole() -> str:
        engine = open_engine(config.database_url, Path(config.data_dir))
        try:
            step = await migrate(engine)
            if newer:
                async with writing(engine) as connection:
                    await connection.execute(text("UPDATE schema_version SET version_num = '9999'"))
            return step
        finally:
            await engine.dispose()

    return asyncio.run(whole())


def test_a_database_that_was_never_made_is_fine_and_stays_unmade(config: Config) -> None:
    problem, well = database_problem(config)
    assert (problem, well) == ("", f"{config.data_dir}/ledger.db will be made")
    assert list(Path(config.data_dir).iterdir()) == []


def test_a_database_tells_its_step(config: Config) -> None:
    step = make(config)
    assert database_problem(config) == ("", f"{config.data_dir}/ledger.db answers, at step {step}")


def test_a_newer_programs_database_is_a_problem(config: Config) -> None:
    make(config, newer=True)
    assert "newer Askonce" in database_problem(config)[0]


def test_a_server_answers_with_nothing_made(config: Config, postgres: Postgres) -> None:
    problem, well = database_problem(replace(config, database_url=postgres.database()))
    assert (problem, well) == ("", "PostgreSQL answers, its tables will be made")


def test_a_server_that_is_not_there_is_a_problem_without_its_password(config: Config) -> None:
    problem, _ = database_problem(replace(config, database_url="postgresql://u:hidden@127.0.0.1:1/x"))
    assert "The database is away" in problem
    assert "hidden" not in problem


def test_where_the_secret_comes_from_is_told_and_it_is_not(config: Config) -> None:
    assert secret_origin(config).endswith("secret will be made")
    (Path(config.data_dir) / "secret").write_text("s" * 40)
    assert "back it up" in secret_origin(config)
    told = secret_origin(replace(config, secret=f"{'a' * 40},{'b' * 40}"))
    assert told == "configured, with 1 former; the same is needed on all nodes"
