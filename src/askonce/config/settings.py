"""The frozen settings. `load` makes them; nothing else does. Seconds and bytes stand in the names."""

import hashlib
from typing import Literal

from msgspec import Struct


class StaticKey(Struct, frozen=True):
    """Hold a key from `ASKONCE_KEYS` and the tenant that it belongs to."""

    secret: str
    tenant: str

    @property
    def name(self) -> str:
        """Return what the key may be called in public: `key-` and the first 12 hex digits of its SHA-256."""
        return "key-" + hashlib.sha256(self.secret.encode()).hexdigest()[:12]


class RateLimit(Struct, frozen=True):
    """Allow `requests` in any `span_s` seconds."""

    requests: int
    span_s: int


class Deadlines(Struct, frozen=True):
    """Bound a provider call: connecting, the first byte, the gap between bytes, everything. Seconds."""

    connect_s: float = 5.0
    first_byte_s: float = 120.0
    idle_s: float = 60.0
    total_s: float = 600.0


class ModelPrice(Struct, frozen=True):
    """Override a model's price: dollars per million tokens, as decimal strings."""

    input: str
    output: str
    cache_read: str | None = None
    cache_write: str | None = None


class ProviderSettings(Struct, frozen=True):
    """Hold what is configured of one provider. `name` is a row of the catalog, or new with `base_url` set.

    `source` says where it was found (`environment OPENAI_API_KEY`, `askonce.toml`). `script` belongs to the
    `scripted` provider only. `more_keys` are further keys besides `api_key`. `max_concurrency`: how many calls may be
    in the air at once, over all workers. `capabilities`: what its models can do besides what is known of them.
    `context_windows`: how many tokens its models can read, by their names. `own_machine`: does it run on a machine of
    one's own, where an abandoned call costs nothing? None: as its address tells.
    """

    name: str
    base_url: str = ""
    api_key: str = ""
    default_model: str = ""
    models: tuple[str, ...] = ()
    prices: dict[str, ModelPrice] = {}
    script: str = ""
    source: str = ""
    more_keys: tuple[str, ...] = ()
    max_concurrency: int | None = None
    capabilities: tuple[str, ...] = ()
    context_windows: dict[str, int] = {}
    own_machine: bool | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """Return all keys, one empty one where none is needed."""
        return (self.api_key, *self.more_keys)


class GroupMember(Struct, frozen=True):
    """Hold one model of a group and its weight."""

    model: str
    weight: float = 1.0


class GroupSettings(Struct, frozen=True):
    """Hold models that stand for one name."""

    members: tuple[GroupMember, ...]
    strategy: Literal["weighted", "order"] = "weighted"


class PreferenceSettings(Struct, frozen=True):
    """Hold who is to do one kind of work."""

    priority: Literal["quality", "speed", "cost"] | None = None
    models: tuple[str, ...] = ()


class RoutingSettings(Struct, frozen=True):
    """Hold whom the choosing modes choose among, and who does what kind of work."""

    models: tuple[str, ...] = ()
    orchestrated: dict[str, PreferenceSettings] = {}


class Config(Struct, frozen=True):
    """Hold everything that is in force."""

    host: str = "127.0.0.1"
    port: int = 3001
    data_dir: str = ""
    workers: int = 1
    open: bool = False  # serve beyond loopback without keys
    require_keys: bool = False  # serve nobody without a key, whether there is one yet or not
    keys: tuple[StaticKey, ...] = ()
    secret: str = ""  # what all other secrets are derived from; several, separated by commas
    database_url: str = ""  # "": a file in the data folder
    state_url: str = ""  # "": files in the data folder
    state_timeout_s: float = 0.08
    nodes: int = 1  # that share it
    ledger_worker: bool = True  # does the supervisor run the worker?
    workflows: bool = True  # are workflows and jobs taken, and done by the worker?
    queue_concurrency: int = 8  # executions at once, per queue and worker
    queue_limit: RateLimit | None = RateLimit(100, 60)  # executions begun, per queue
    execution_timeout_s: int = 3600
    keep_done_s: int = 24 * 3600
    keep_failed_s: int = 48 * 3600
    webhook_hosts: tuple[str, ...] = ()  # that jobs may name; "*": all
    keep_calls_days: int = 400  # 0: for ever
    keep_samples_days: int = 30
    keep_texts_days: int = 7
    keep_counts_days: int = 400
    webhook_url: str = ""
    cache: bool = True
    cache_ttl_s: int = 3600
    cache_off_doors: tuple[str, ...] = ()  # paths at which a request that says nothing has cache mode `off`
    cache_off_keys: tuple[str, ...] = ()  # tenants, or names of keys, whose requests have
    cache_size_bytes: int = 2 << 30
    limit_llm: RateLimit | None = RateLimit(20, 60)
    limit_standard: RateLimit | None = RateLimit(100, 60)
    limit_refused: RateLimit | None = RateLimit(100, 60)  # requests refused as invalid, or without a valid key
    limit_message: str = "Too many LLM requests, please wait before trying again."
    trusted_proxies: tuple[str, ...] = ()  # CIDR
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: str = ""
    oidc_admit: tuple[str, ...] = ()  # rules of `domain.admittance`
    cors_origins: tuple[str, ...] = ()  # of pages that may ask with a key; "*": all
    body_limit_bytes: int = 16 << 20
    body_timeout_s: float = 30.0
    drain_s: float = 30.0
    drain_delay_s: float = 0.0  # before that, while /ready says no already
    default_model: str = ""
    local_model: str = "auto"
    models_dir: str = ""  # where weights are kept; shared by data folders
    aliases: dict[str, str] = {}
    groups: dict[str, GroupSettings] = {}
    routing: RoutingSettings = RoutingSettings()
    providers: tuple[ProviderSettings, ...] = ()
    deadlines: Deadlines = Deadlines()
    sample: float = 0.01  # of the answers that cost nothing, the share that is kept as rows
    log_texts: bool = False  # prompts and answers of paid calls
    sentry_dsn: str = ""
    sentry_environment: str = "production"
    otel_endpoint: str = ""
    otel_headers: str = ""
    otel_service_name: str = "askonce"
    otel_sample: float = 1.0
    otel_metrics: str = "otlp"  # otlp | none
    otel_content: bool = False  # prompts and answers in traces
    metrics: str = "open"  # open | key | off
    slow_request_s: float = 30.0  # 0: none is slow
    log_sample: float = 0.0  # of the requests that are not worth a line, the share that gets one
    log_level: str = "info"
    log_format: str = "auto"  # auto | json | console
    log_file: str = ""  # "": stderr
    log_file_size_bytes: int = 64 << 20
    log_files: int = 5  # full ones that are kept
    origins: dict[str, str] = {}  # by the key of each setting that was set: where that was
    file: str = ""  # askonce.toml, where there is one

    @property
    def askers(self) -> int:
        """Return how many processes ask providers: gateways, and the worker for what it does in the background."""
        return self.workers + self.workflows

    @property
    def shares_flights(self) -> bool:
        """Say whether several processes ask providers, so that they must know of each other's calls in the air."""
        return self.askers > 1 or bool(self.state_url)
