"""Every metric, one row each: the one place that knows their names, labels and sentences (docs/metrics.md follows it).

Inside, a series is a list of integers: a counter's is its count; a histogram's are its buckets' counts (not cumulated;
the last is for what lies above all bounds) and then their sum, in microseconds where it measures time.
"""

from typing import Literal

from msgspec import Struct

from askonce.domain.durations import DURATIONS_US

Kind = Literal["counter", "gauge", "histogram"]

_DECADES_US = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
# Of the bounds of durations Prometheus is shown three to a decade, which is what it needs for its own.
SHOWN_US = frozenset(decade * step for decade in _DECADES_US for step in (1, 2, 5)) | {1_000_000_000}
FOLLOWERS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)


class Metric(Struct, frozen=True):
    """Describe a metric. `name` is without the suffixes that the format adds (`_total`, `_bucket`, …)."""

    name: str
    kind: Kind
    sentence: str
    labels: tuple[str, ...] = ()
    bounds: tuple[int, ...] = ()  # of a histogram; in microseconds where the name ends in `_seconds`

    @property
    def shown_name(self) -> str:
        """Return the name that one asks Prometheus for; of a histogram what its series' names begin with."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    @property
    def width(self) -> int:
        """Return how many integers a series has."""
        return len(self.bounds) + 2 if self.kind == "histogram" else 1


def _counter(name: str, sentence: str, *labels: str) -> Metric:
    return Metric(f"askonce_{name}", "counter", sentence, labels)


def _gauge(name: str, sentence: str, *labels: str) -> Metric:
    return Metric(f"askonce_{name}", "gauge", sentence, labels)


def _time(name: str, sentence: str, *labels: str) -> Metric:
    return Metric(f"askonce_{name}_seconds", "histogram", sentence, labels, DURATIONS_US)


REQUESTS = _counter(
    "requests",
    "Requests by door, by outcome (ok, client_error, unauthorized, forbidden, not_found, rate_limited, over_budget, "
    "left, server_error) and by how the answer came about (hit, miss, coalesced, refresh, off; empty where none did).",
    "door",
    "outcome",
    "cache",
)
REQUEST_TIME = _time(
    "request_duration",
    "From a request's head to the last byte of its reply; of streams, to their end.",
    "door",
    "cache",
)
REFUSALS = _counter("refusals", "Requests that were refused at the door, by the error's code.", "code")
STORE_TIME = _time("store_duration", "How long window and look-up of a question took, in one act.")
CALLS = _counter("provider_calls", "Calls that reached a provider, by how they ended.", "provider", "model", "ending")
CALL_TIME = _time("provider_duration", "From sending a call to the end of its answer.", "provider", "model")
FIRST_TOKEN_TIME = _time("time_to_first_token", "From sending a call to the first token.", "provider", "model")
STAGE_TIME = _time(
    "stage_duration",
    "Stages of paid calls: admission, boarding (of a flight), dispatch, first_token, generation, settlement.",
    "stage",
)
TOKENS = _counter(
    "tokens",
    "Tokens of paid calls: prompt, completion, cached (read from the vendor's prompt cache, part of prompt), "
    "cache_write, reasoning (part of completion).",
    "provider",
    "model",
    "kind",
)
COST = _counter("cost_nanodollars", "What paid calls cost, in billionths of a dollar.", "provider", "model")
SAVED = _counter(
    "saved_nanodollars",
    "What was saved, in billionths of a dollar: by answers from the store (exact), by joining (coalesced), by the "
    "vendor's prompt cache (prompt_cache).",
    "kind",
)
FOLLOWERS_PER_FLIGHT = Metric(
    "askonce_flight_followers",
    "histogram",
    "How many requests of the same process had joined a paid call by its end.",
    (),
    FOLLOWERS,
)
UNBOOKED = _counter("unbooked", "Endings that shared state did not take; each stands in the log in full.")
DEFECTS = _counter("defects", "Errors that nobody expected; each stands in the log with its traceback.")
LEDGER_TIME = _time("ledger_write_duration", "How long the database took for one batch of the ledger.")
LEDGER_RECORDS = _counter("ledger_records", "Records that were brought into the database.")
LEDGER_FAILURES = _counter("ledger_write_failures", "Batches that the database did not take; they are tried again.")

IN_FLIGHT = _gauge("requests_in_flight", "Requests that are being served, open streams included.", "process")
FLIGHTS = _gauge("flights", "Calls in the air, led or followed.", "process")
PROVIDER_LOAD = _gauge("provider_calls_in_flight", "Calls to a provider that are under way.", "process", "provider")
BREAKER = _gauge(
    "breaker_state",
    "A provider's breaker, the worst of its models: 0 closed, 1 half-open, 2 open.",
    "process",
    "provider",
)
STORE_AWAY = _gauge("store_away", "1 while shared state does not answer this process.", "process")
CPU = _gauge("process_cpu_seconds", "Processor time that a process has used since it began.", "process")
MEMORY = _gauge("process_resident_memory_bytes", "Memory of a process.", "process")
FILES = _gauge("process_open_fds", "Open files and connections of a process.", "process")
STARTED = _gauge("process_start_time_seconds", "When a process began, in seconds since the epoch.", "process")
OUTBOX = _gauge("outbox_records", "Records that the database has not got yet.", "process")
OUTBOX_BYTES = _gauge("outbox_bytes", "Room that they take in shared state.", "process")
OUTBOX_DROPPED = _gauge("outbox_dropped", "Samples and texts that were left out for want of room.", "process")
ON_DUTY = _gauge("worker_on_duty", "1 where this worker brings the outbox over for all nodes.", "process")
QUEUE = _gauge(
    "queue_depth",
    "Executions in a queue that wait (queued), wait for their time (delayed), or run.",
    "process",
    "queue",
    "state",
)
QUEUE_WAIT = _gauge(
    "queue_oldest_wait_seconds", "How long the execution waits that has waited longest.", "process", "queue"
)
EXECUTIONS = _counter("executions", "Workflows and background questions that have ended, by how.", "kind", "status")
NODES = _counter(
    "nodes", "Nodes of workflows that have ended, by how; those that never began are none.", "type", "status"
)
PART = _gauge("part_up", "Each part of /ready: 1 ok, 0.5 degraded, 0 down.", "part")
BUILD = _gauge("build_info", "Always 1; the labels say what runs.", "version", "python")

METRICS: tuple[Metric, ...] = (
    REQUESTS,
    REQUEST_TIME,
    REFUSALS,
    STORE_TIME,
    CALLS,
    CALL_TIME,
    FIRST_TOKEN_TIME,
    STAGE_TIME,
    TOKENS,
    COST,
    SAVED,
    FOLLOWERS_PER_FLIGHT,
    UNBOOKED,
    DEFECTS,
    LEDGER_TIME,
    LEDGER_RECORDS,
    LEDGER_FAILURES,
    IN_FLIGHT,
    FLIGHTS,
    PROVIDER_LOAD,
    BREAKER,
    STORE_AWAY,
    CPU,
    MEMORY,
    FILES,
    STARTED,
    OUTBOX,
    OUTBOX_BYTES,
    OUTBOX_DROPPED,
    ON_DUTY,
    QUEUE,
    QUEUE_WAIT,
    EXECUTIONS,
    NODES,
    PART,
    BUILD,
)
BY_NAME = {metric.name: metric for metric in METRICS}
