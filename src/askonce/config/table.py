"""All settings, one row each: the one place that knows their names, readers and sentences.

A row's environment variable is `ASKONCE_` and its key in capitals. Defaults live in `Config`. From here come the
loader, `askonce config`, and docs/settings.md.
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

    @property
    def env(self) -> str:
        """Name the environment variable."""
        return "ASKONCE_" + self.key.upper()


def _span(key: str, field: str, low_s: float, sentence: str) -> Setting:
    return Setting(key, field, "span", values.duration(low_s, _DAY_S), sentence)


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
        "keys",
        "keys",
        "list",
        values.static_keys,
        f"API keys of {values.MIN_KEY} characters or more (`openssl rand -hex 24` makes one), separated by commas, "
        "each `key` or `tenant:key`. Keys of one tenant share answers; a bare key shares with nobody.",
        secret=True,
    ),
    Setting("secret", "secret", "text", values.text, "Secret that signs what is handed out to clients.", secret=True),
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
    Setting("body_limit", "body_limit_bytes", "size", values.size(1024, 1 << 30), "Largest request body."),
    _span("body_timeout", "body_timeout_s", 0.1, "How long a request's body may take to arrive."),
    _span("drain", "drain_s", 0, "How long requests in flight may go on after SIGTERM."),
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
        "log_level", "log_level", "choice", values.choice("debug", "info", "warning", "error"), "Least level to log."
    ),
    Setting(
        "log_format",
        "log_format",
        "choice",
        values.choice("auto", "json", "console"),
        "Form of the log; `auto` is JSON unless it goes to a terminal.",
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
# Promised for later versions. Refused, because running without them is not what was asked for …
NOT_YET_REFUSED = ("STATE_URL",)
# … and only remarked on, because other programs' environments have them too.
NOT_YET_REMARKED = ("REDIS_URL", "DATABASE_URL", "SENTRY_DSN")
