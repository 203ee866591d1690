"""What all tables share: one `metadata`, and the words for their columns.

Tables name no schema. On PostgreSQL the engine puts `askonce.` before every name (`engine.py`), so that a database
shared with others is safe; a SQLite file is ours alone. Texts that name a table by hand ask `qualified`.

Times are epoch milliseconds, money is nano-dollars, both in 64 bits. Ids are text, "" where there is none: no column
of ours is null, so that keys and comparisons need no second case.
"""

from sqlalchemy import BigInteger, Integer, MetaData, SmallInteger, Text
from sqlalchemy.engine import Dialect

SCHEMA = "askonce"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# 64 bits. SQLite makes a column the table's own row number only where it is called INTEGER.
Wide = BigInteger().with_variant(Integer, "sqlite")
Small = SmallInteger()  # codes, and 0 or 1
# Compared byte by byte, as SQLite does: the same order everywhere, and much quicker than a language's rules.
Word = Text().with_variant(Text(collation="C"), "postgresql")


def qualified(dialect: Dialect, name: str) -> str:
    """Return a table's name as a text of SQL must say it."""
    return f"{SCHEMA}.{name}" if dialect.name == "postgresql" else name
