"""All settings, one row each: the one place that knows their names, readers and sentences.

A row's environment variable is `ASKONCE_` and its key in capitals, unless it has a `variable` of its own. Defaults live
in `Config`. From here come the loader, `askonce config`, and docs/settings.md.
"""

from msgspec import Struct

from askonce.config import values
from askonce.config.values import Reader

_DAY_S = 86_400
_EIB = 1 << 60


class Setting(Struct, frozen=True):
    """Describe one setting. `key` is its name in askonce.toml, `field` the path in `Config`, `kind` its type's word."""

    key: str
    field: str
    kind: str
    read: Reader
    sentence: str
    secret: bool = False
    path: bool = False  # made absolute: from askonce.toml relative to that file, else to the working folder
    shown_default: str = ""  # where the default depends on the machine
    variable: str = ""  # where the environment variable is one that other programs know, too
    also: str = ""  # another variable that counts where that one is not set

    @property
    def env(self) -> str:
        """Name the environment variable."""
        return self.variable or "ASKONCE_" + self.key.upper()


def _span(key: str, field: str, low_s: float, sentence: str) -> Setting:
    return Setting(key, field, "span", values.duration(low_s, _DAY_S), sentence)


def _age(key: str, sentence: str) -> Setting:
    return Setting(key, f"{key}_days", "age", values.days, sentence)


SETTINGS: tuple[Setting, ...] = (
    Setting("host", "host", "address", values.text, "Address to listen on. Beyond loopback only with keys, or `open`."),
    Setting("port", "port", "number", values.whole(0, 65535), "Port to listen on; 0 takes any that is free."),
    Setting(
        "data_dir",
        "data_dir",
        "path",
        values.text,
        "Folder for the cache and the books; made if missing, readable by its owner only.",
        path=True,
        shown_default="`$XDG_DATA_HOME/askonce`, else `~/.local/share/askonce`",
    ),
    Setting("workers", "workers", "number", values.whole(1, 256), "Gateway processes."),
    Setting(
        "open", "open", "switch", values.switch, "Listen beyond loopback although no keys are set: everyone may spend."
    ),
    Setting(
        "require_keys",
        "require_keys",
        "switch",
        values.switch,
        "Serve nobody without a key, though none may have been made yet. What to set where a server that others reach "
        "has its keys in the database (`askonce keys create`) and not in `keys`.",
    ),
    Setting(
        "keys",
        "keys",
        "list",
        values.static_keys,
        f"API keys of {values.MIN_KEY} characters or more (`openssl rand -hex 24` makes one), separated by commas, "
        "each `key` or `tenant:key`. Keys of one tenant share answers; a bare key shares with nobody.",
        secret=True,
    ),
    Setting(
        "secret",
        "secret",
        "text",
        values.text,
        "What the keys are made of that hash API keys, seal providers' keys, chain the audit and sign webhooks; "
        "32 letters or more (`openssl rand -hex 32` makes one), the same on all nodes. Several, separated by commas: "
        "the first is in force, the others are former ones that still open what was made with them.",
        secret=True,
        shown_default="made once, and kept in the data folder as `secret`",
    ),
    Setting(
        "database_url",
        "database_url",
        "text",
        values.text,
        "Database of the ledger, the keys and the audit's log: `postgresql://user:password@host/name` (a schema "
        "`askonce` of its own; Supabase's pooler too), or `sqlite:///file`.",
        secret=True,
        shown_default="`ledger.db` in the data folder (SQLite)",
        variable="DATABASE_URL",
    ),
    Setting(
        "state_url",
        "state_url",
        "text",
        values.text,
        "Valkey or Redis that all nodes share: `redis://user:password@host:6379/0`, `rediss://…` over TLS, "
        "`redis+sentinel://host,host/master`, `redis+cluster://host,host`. All keys begin with `askonce:`. "
        "`REDIS_URL` is read where it is not set.",
        secret=True,
        shown_default="files in the data folder, for the processes of one machine",
        variable="STATE_URL",
        also="REDIS_URL",
    ),
    Setting(
        "state_timeout",
        "state_timeout_s",
        "span",
        values.duration(0.01, 10),
        "How long one call to Valkey or Redis may take; one that is later counts as away until it answers again.",
    ),
    Setting(
        "nodes",
        "nodes",
        "number",
        values.whole(1, 10_000),
        "Nodes that share `state_url`. While it is away each process admits its share of every limit: the limit "
        "divided by `nodes` and `workers`.",
    ),
    Setting(
        "ledger_worker",
        "ledger_worker",
        "switch",
        values.switch,
        "Have `askonce serve` run the worker that brings what happened into the database. Off where `askonce worker` "
        "runs beside it; one of both must.",
    ),
    _age("keep_calls", "How long each paid call's row is kept; sums per hour, day and month stay for ever."),
    _age("keep_samples", "How long details of some answers that cost nothing are kept."),
    _age("keep_texts", "How long prompts and answers are kept, where `log_texts` is on."),
    _age("keep_counts", "How long counters per minute are kept. The audit's log is kept for ever."),
    Setting(
        "webhook_url",
        "webhook_url",
        "text",
        values.web_address,
        "Address that is told when a budget's soft limit is passed, by a signed POST; `askonce worker --webhook-key` "
        "shows the key of the signatures.",
        secret=True,
    ),
    Setting(
        "workflows",
        "workflows",
        "switch",
        values.switch,
        "Take workflows and background jobs, which the worker does. Off: their doors answer 404.",
    ),
    Setting(
        "queue_concurrency",
        "queue_concurrency",
        "number",
        values.whole(1, 1000),
        "Executions that one worker does side by side, of each queue.",
    ),
    Setting("queue_limit", "queue_limit", "rate", values.rate, "Executions begun per queue, over all workers."),
    Setting(
        "execution_timeout",
        "execution_timeout_s",
        "span",
        values.whole_duration(1, 7 * _DAY_S),
        "How long an execution may run, unless it asks for less.",
    ),
    Setting(
        "keep_done",
        "keep_done_s",
        "span",
        values.whole_duration(60, 3650 * _DAY_S),
        "How long executions that succeeded or were cancelled are kept, with their answers.",
    ),
    Setting(
        "keep_failed",
        "keep_failed_s",
        "span",
        values.whole_duration(60, 3650 * _DAY_S),
        "How long executions that failed are kept, to be looked at and resumed.",
    ),
    Setting(
        "webhook_hosts",
        "webhook_hosts",
        "list",
        values.hosts,
        "Hosts whose addresses a job may name as its webhook, such as `hooks.example.org`; `*`: any on the public "
        "internet. None: webhooks of jobs are refused, so that no caller makes this server ask what it likes.",
    ),
    Setting(
        "cache",
        "cache",
        "switch",
        values.switch,
        "Keep answers. Off: every request is paid for but retries by `Idempotency-Key`, whose answers are kept ten "
        "minutes.",
    ),
    Setting("cache_ttl", "cache_ttl_s", "span", values.whole_duration(1, 3650 * _DAY_S), "How long an answer is kept."),
    Setting(
        "cache_off_doors",
        "cache_off_doors",
        "list",
        values.asking_doors,
        "Doors where the cache is used only by requests that ask for it: paths, or `/v1` for all of its doors.",
    ),
    Setting(
        "cache_off_keys",
        "cache_off_keys",
        "list",
        values.listed,
        "Keys whose requests use the cache only where they ask for it: a tenant for all of its keys, or `key-` and the "
        "first 12 digits of a key's SHA-256 for that one (`askonce config` shows them).",
    ),
    Setting(
        "cache_size",
        "cache_size_bytes",
        "size",
        values.size(1 << 20, _EIB),
        "Room for answers; the least recently used go first.",
    ),
    Setting("limit_llm", "limit_llm", "rate", values.rate, "Requests to models per identity, as `20/60s`, or `off`."),
    Setting("limit_standard", "limit_standard", "rate", values.rate, "All other requests per identity."),
    Setting(
        "limit_refused", "limit_refused", "rate", values.rate, "Requests that are refused as invalid, per identity."
    ),
    Setting("limit_message", "limit_message", "text", values.text, "Sentence that a limited caller reads."),
    Setting(
        "trusted_proxies",
        "trusted_proxies",
        "list",
        values.networks,
        "Proxies whose `X-Forwarded-For` counts: addresses or networks.",
    ),
    Setting(
        "oidc_issuer",
        "oidc_issuer",
        "text",
        values.issuer,
        "Identity provider at which people log in (OpenID Connect), such as `https://accounts.google.com`. Register "
        "`/login/oidc/callback` of this server there.",
    ),
    Setting("oidc_client_id", "oidc_client_id", "text", values.text, "What the identity provider calls this server."),
    Setting(
        "oidc_client_secret",
        "oidc_client_secret",
        "text",
        values.text,
        "What it proves that with.",
        secret=True,
    ),
    Setting(
        "oidc_admit",
        "oidc_admit",
        "list",
        values.admittance,
        "Who may log in without having been invited, as `@example.org=acme:use` (a verified address there), "
        "`groups:llm-admins=acme:use+admin` (a claim's word) or `*=guests:use`; tenant and scopes are those of their "
        "first login.",
    ),
    Setting(
        "cors_origins",
        "cors_origins",
        "list",
        values.origins,
        "Origins of web pages that may ask with a key (CORS), such as `https://app.example.org`; `*`: of all pages. "
        "Cookies never cross; a server without keys never answers `*`.",
    ),
    Setting("body_limit", "body_limit_bytes", "size", values.size(1024, 1 << 30), "Largest request body."),
    _span("body_timeout", "body_timeout_s", 0.1, "How long a request's body may take to arrive."),
    _span("drain", "drain_s", 0, "How long requests in flight may go on after SIGTERM."),
    _span(
        "drain_delay",
        "drain_delay_s",
        0,
        "How long after SIGTERM new requests are still taken, while `/ready` says no already and replies say "
        "`Connection: close`: as long as what stands in front takes to ask others.",
    ),
    Setting(
        "default_model",
        "default_model",
        "text",
        values.text,
        "Model for requests that name none, as `gpt-4o` or `openai:gpt-4o`.",
        shown_default="the first configured vendor's, else the embedded model",
    ),
    Setting(
        "local_model",
        "local_model",
        "text",
        values.local_model,
        "Embedded model: `auto` (only where no vendor is configured), `on`, `off`, a model's name, or a GGUF file.",
    ),
    Setting(
        "models_dir",
        "models_dir",
        "path",
        values.text,
        "Folder for the embedded model's weights; shared by all data folders.",
        path=True,
        shown_default="`$XDG_CACHE_HOME/askonce/models`, else `~/.cache/askonce/models`",
    ),
    _span("connect_timeout", "deadlines.connect_s", 0.05, "How long connecting to a provider may take."),
    _span(
        "first_byte_timeout",
        "deadlines.first_byte_s",
        0.05,
        "How long a provider may take to begin its answer: in a stream until the first event that is no ping.",
    ),
    _span(
        "idle_timeout",
        "deadlines.idle_s",
        0.05,
        "How long a provider may be silent within an answer that has begun.",
    ),
    _span("total_timeout", "deadlines.total_s", 0.05, "How long one provider call may take."),
    Setting(
        "sample",
        "sample",
        "share",
        values.share,
        "Share of the answers that cost nothing (0 to 1) of which the ledger keeps a row each; all are counted anyway.",
    ),
    Setting(
        "log_texts",
        "log_texts",
        "switch",
        values.switch,
        "Keep prompts and answers of paid calls in the ledger, up to 256 KiB each, for as long as `keep_texts` says.",
    ),
    Setting(
        "sentry_dsn",
        "sentry_dsn",
        "text",
        values.sentry_dsn,
        "Sentry project that is told of errors which nobody expected: their kind and place, never prompts, answers, "
        "keys or values of variables.",
        secret=True,
        variable="SENTRY_DSN",
    ),
    Setting(
        "sentry_environment",
        "sentry_environment",
        "text",
        values.text,
        "What Sentry calls this installation, such as `staging`.",
        variable="SENTRY_ENVIRONMENT",
    ),
    Setting(
        "otel_endpoint",
        "otel_endpoint",
        "text",
        values.web_address,
        "OpenTelemetry collector that is told of requests, paid calls and background work as traces (OTLP over HTTP, "
        "protobuf), such as `http://127.0.0.1:4318`; of prompts and answers only with `otel_content`.",
        variable="OTEL_EXPORTER_OTLP_ENDPOINT",
    ),
    Setting(
        "otel_headers",
        "otel_headers",
        "text",
        values.header_pairs,
        "Headers for it, as `name=value,name=value`.",
        secret=True,
        variable="OTEL_EXPORTER_OTLP_HEADERS",
    ),
    Setting(
        "otel_service_name",
        "otel_service_name",
        "text",
        values.text,
        "What this installation is called there.",
        variable="OTEL_SERVICE_NAME",
    ),
    Setting(
        "otel_sample",
        "otel_sample",
        "share",
        values.share,
        "Share (0 to 1) of the traces that begin here which are recorded; of requests that bring a context, those are "
        "whose caller records.",
        variable="OTEL_TRACES_SAMPLER_ARG",
    ),
    Setting(
        "otel_metrics",
        "otel_metrics",
        "choice",
        values.choice("otlp", "none"),
        "Is that collector also told of tokens and durations of paid calls, as metrics, each minute? (`none`: traces "
        "only.)",
        variable="OTEL_METRICS_EXPORTER",
    ),
    Setting(
        "otel_content",
        "otel_content",
        "switch",
        values.span_content,
        "Put prompts and answers of paid calls into the traces, as `gen_ai.input.messages` and its like? Whoever reads "
        "the collector reads them then. (`SPAN_ONLY` and `NO_CONTENT` are understood too.)",
        variable="OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
    ),
    Setting(
        "metrics",
        "metrics",
        "choice",
        values.choice("open", "key", "off"),
        "Who may read `/metrics`: everyone who reaches the server, as with `/health` (`open`; it tells models, sums, "
        "but no tenants or keys), holders of the scope `report` (`key`), or nobody (`off`: nothing is counted, and "
        "`/admin/performance` tells nothing).",
    ),
    _span(
        "slow_request",
        "slow_request_s",
        0,
        "Requests that take longer get a line `slow_request` with their timeline; 0: none does.",
    ),
    Setting(
        "log_sample",
        "log_sample",
        "share",
        values.share,
        "Share (0 to 1) of the requests that need no line of their own, hits above all, that get one all the same.",
    ),
    Setting(
        "log_level", "log_level", "choice", values.choice("debug", "info", "warning", "error"), "Least level to log."
    ),
    Setting(
        "log_format",
        "log_format",
        "choice",
        values.choice("auto", "json", "console"),
        "Form of the log; `auto` is JSON unless it goes to a terminal.",
    ),
    Setting(
        "log_file",
        "log_file",
        "path",
        values.text,
        "File that the log of all processes goes to, instead of stderr.",
        path=True,
        shown_default="stderr",
    ),
    Setting(
        "log_file_size",
        "log_file_size_bytes",
        "size",
        values.size(64 << 10, _EIB),
        "How large `log_file` gets before it is moved away and begun anew.",
    ),
    Setting(
        "log_files",
        "log_files",
        "number",
        values.whole(0, 1000),
        "Full log files that are kept, as `log_file` with `.1` (the latest), `.2` and so on.",
    ),
)

BY_KEY = {setting.key: setting for setting in SETTINGS}

KEY_VARIABLE = "ASKONCE_KEY"  # a secret too
# Variables of ours that are not settings of the server.
OTHER_VARIABLES = {
    "ASKONCE_CONFIG": "Path of askonce.toml.",
    "ASKONCE_URL": "Server that `askonce ask`, `stats` and `models` talk to.",
    KEY_VARIABLE: "API key that they send.",
}
# Promised for later versions; only remarked on, because other programs' environments have them too.
NOT_YET_REMARKED = ("OTEL_EXPORTER_OTLP_PROTOCOL",)
