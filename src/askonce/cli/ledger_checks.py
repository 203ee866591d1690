"""What the doctor sees of the database and of the secret that goes with it; neither is made or changed."""

import asyncio
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from askonce.config.secret import FILE_NAME
from askonce.config.settings import Config
from askonce.domain.errors import ConfigError
from askonce.domain.ledger import LedgerUnavailable
from askonce.ledger.address import SqliteFile, parse
from askonce.ledger.engine import Bounds, open_engine
from askonce.ledger.migrate import scripts, step_of

WAIT_S = 10.0


def database_problem(config: Config) -> tuple[str, str]:
    """Ask the database at which step it is; return what is wrong ("" where nothing is), and what is right."""
    folder = Path(config.data_dir)
    address = parse(config.database_url, folder)
    if isinstance(address, SqliteFile):
        if not address.path.exists():
            return "", f"{address.path} will be made"
        place = str(address.path)
    else:
        place = "PostgreSQL, through a pooler" if address.pooled else "PostgreSQL"
    try:
        step = asyncio.run(_step(config.database_url, folder))
    except (LedgerUnavailable, ConfigError) as error:
        return f"{error} Until it is back, what happens is kept in the data folder.", ""
    except TimeoutError:
        return f"{place} does not answer within {WAIT_S:g} s; correct DATABASE_URL or the network", ""
    except SQLAlchemyError as error:
        return f"{place} refuses us ({type(error).__name__}); may this user use the schema askonce?", ""
    known = scripts()
    if step and step not in {script.revision for script in known.walk_revisions()}:
        return f"{place} is at step {step}, made by a newer Askonce; run that one", ""
    return "", f"{place} answers, " + (f"at step {step}" if step else "its tables will be made")


def secret_origin(config: Config) -> str:
    """Say where the secret comes from."""
    path = Path(config.data_dir) / FILE_NAME
    if config.secret:
        former = config.secret.count(",")
        return "configured" + (f", with {former} former" if former else "") + "; the same is needed on all nodes"
    return f"kept in {path}: back it up" if path.exists() else f"{path} will be made"


async def _step(url: str, folder: Path) -> str:
    engine = open_engine(url, folder, Bounds(connections=1, name="askonce doctor"))
    try:
        async with asyncio.timeout(WAIT_S):
            return await step_of(engine)
    finally:
        await engine.dispose()
