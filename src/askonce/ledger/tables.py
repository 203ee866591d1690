"""The tables of what happened: rows as they came out of outboxes, and sums of them.

Rows stand in the order of time, so that lists, ranges and deleting by age touch neighbours only. What is in `usage`
was added in the transaction that wrote the row, so that sums and rows always agree.
"""

from sqlalchemy import Column, Index, Integer, Table, Text, UniqueConstraint

from askonce.ledger.schema import Small, Wide, Word, metadata

# How far each outbox is written. `missing`: records that never came, because the database was put back to an earlier
# state after they had been written.
sources = Table(
    "sources",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("source", Word, nullable=False, unique=True),
    Column("last", Wide, nullable=False),
    Column("missing", Wide, nullable=False),
    Column("applied_ms", Wide, nullable=False),
)

calls = Table(
    "calls",
    metadata,
    Column("at_ms", Wide, primary_key=True),
    Column("source", Integer, primary_key=True, autoincrement=False),
    Column("number", Wide, primary_key=True),
    Column("tenant", Word, nullable=False),
    Column("key_id", Word, nullable=False),
    Column("user_id", Word, nullable=False),
    Column("door", Word, nullable=False),
    Column("request_id", Word, nullable=False),
    Column("trace_id", Word, nullable=False),
    Column("provider", Word, nullable=False),
    Column("model", Word, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("kind", Word, nullable=False),  # a `PaidKind`
    Column("counted", Small, nullable=False),
    Column("stored", Small, nullable=False),
    Column("cost_nano", Wide, nullable=False),
    Column("saved_prompt_cache_nano", Wide, nullable=False),
    Column("prompt_tokens", Wide, nullable=False),
    Column("completion_tokens", Wide, nullable=False),
    Column("cached_tokens", Wide, nullable=False),
    Column("cache_write_tokens", Wide, nullable=False),
    Column("reasoning_tokens", Wide, nullable=False),
    Column("estimated", Small, nullable=False),
    Column("took_ms", Wide, nullable=False),
    Column("first_token_ms", Wide, nullable=False),
    Column("error_code", Word, nullable=False),
    Column("priced", Small, nullable=False),
    Column("cache_write_1h_tokens", Wide, nullable=False),
    Column("story", Text, nullable=False, server_default=""),  # JSON: how it went on the road
    sqlite_with_rowid=False,
)

samples = Table(
    "samples",
    metadata,
    Column("at_ms", Wide, primary_key=True),
    Column("source", Integer, primary_key=True, autoincrement=False),
    Column("number", Wide, primary_key=True),
    Column("tenant", Word, nullable=False),
    Column("key_id", Word, nullable=False),
    Column("user_id", Word, nullable=False),
    Column("door", Word, nullable=False),
    Column("request_id", Word, nullable=False),
    Column("trace_id", Word, nullable=False),
    Column("provider", Word, nullable=False),
    Column("model", Word, nullable=False),
    Column("kind", Word, nullable=False),
    Column("saved_nano", Wide, nullable=False),
    Column("took_ms", Wide, nullable=False),
    sqlite_with_rowid=False,
)
# What was asked and answered, where that is kept; it goes long before the rows do.
texts = Table(
    "texts",
    metadata,
    Column("at_ms", Wide, primary_key=True),
    Column("source", Integer, primary_key=True, autoincrement=False),
    Column("number", Wide, primary_key=True),
    Column("tenant", Word, nullable=False),
    Column("request_id", Word, nullable=False),
    Column("provider", Word, nullable=False),
    Column("model", Word, nullable=False),
    Column("question", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("cut", Small, nullable=False),
    Index(None, "request_id"),
)
Index(
    None,
    calls.c.error_code,
    calls.c.at_ms,
    sqlite_where=calls.c.error_code != "",
    postgresql_where=calls.c.error_code != "",
)
# Lists of one tenant's or one key's rows, newest first; and the one row that somebody complains about. Ids that we
# make count up, so that this index, too, mostly grows at its ends.
for _table in (calls, samples):
    Index(None, _table.c.request_id)
    Index(None, _table.c.tenant, _table.c.at_ms)
    Index(
        None,
        _table.c.key_id,
        _table.c.at_ms,
        sqlite_where=_table.c.key_id != "",
        postgresql_where=_table.c.key_id != "",
    )

counts = Table(
    "counts",
    metadata,
    Column("minute", Wide, primary_key=True),
    Column("tenant", Word, primary_key=True),
    Column("key_id", Word, primary_key=True),
    Column("door", Word, primary_key=True),
    Column("provider", Word, primary_key=True),
    Column("model", Word, primary_key=True),
    Column("kind", Word, primary_key=True),
    Column("count", Wide, nullable=False),
    Column("saved_nano", Wide, nullable=False),
    Column("saved_tokens", Wide, nullable=False),
    sqlite_with_rowid=False,
)

# What sums are of: one row per combination that ever occurred, in several shapes. Each shape keeps some of tenant, key,
# door, provider and model, and says "" for the others (`cubes.py`); so sums hold a number instead of all those words.
places = Table(
    "places",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("shape", Small, nullable=False),
    Column("tenant", Word, nullable=False),
    Column("key_id", Word, nullable=False),
    Column("door", Word, nullable=False),
    Column("provider", Word, nullable=False),
    Column("model", Word, nullable=False),
    Column("kind", Word, nullable=False),
    UniqueConstraint("shape", "tenant", "key_id", "door", "provider", "model", "kind", name="uq_places"),
)

# Sums of everything, per hour, day and month (UTC), and for some days per minute in some shapes. A report reads the
# smallest shape that can answer it.
usage = Table(
    "usage",
    metadata,
    Column("grain", Small, primary_key=True, autoincrement=False),
    Column("shape", Small, primary_key=True, autoincrement=False),
    Column("start_ms", Wide, primary_key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("count", Wide, nullable=False),
    Column("cost_nano", Wide, nullable=False),
    Column("saved_nano", Wide, nullable=False),
    Column("saved_prompt_cache_nano", Wide, nullable=False),
    Column("prompt_tokens", Wide, nullable=False),
    Column("completion_tokens", Wide, nullable=False),
    Column("cached_tokens", Wide, nullable=False),
    Column("cache_write_tokens", Wide, nullable=False),
    Column("reasoning_tokens", Wide, nullable=False),
    Column("saved_tokens", Wide, nullable=False),
    Column("estimated", Wide, nullable=False),
    Column("unpriced", Wide, nullable=False),
    Column("took_ms", Wide, nullable=False),
    Column("first_tokens", Wide, nullable=False),  # how many had a first token that was seen coming
    Column("first_token_ms", Wide, nullable=False),
    # What belongs to one tenant or key, of however many.
    Index(None, "place", "grain", "start_ms"),
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": 70},  # rows of the running hour change all the time: in place, if there is room
)

# How long things took: how often by bucket (`domain.durations`), per minute, hour and day. By the minute for all
# tenants together only (`tenant` is ""), else for each as well. `what` is a number of `latency.py`.
times = Table(
    "times",
    metadata,
    Column("grain", Small, primary_key=True, autoincrement=False),
    Column("tenant", Word, primary_key=True),
    Column("what", Small, primary_key=True, autoincrement=False),
    Column("start_ms", Wide, primary_key=True),
    Column("bucket", Small, primary_key=True, autoincrement=False),
    Column("count", Wide, nullable=False),
    Column("total_us", Wide, nullable=False),
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": 70},
)
