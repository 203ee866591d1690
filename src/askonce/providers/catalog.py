"""Vendors, as data: where each is, what it needs, how it differs. The order is the order of preference.

Sources. Base URLs and key variables: each vendor's API documentation. `drains`: OpenRouter's documentation,
"Streaming", lists for which vendors hanging up stops the charging and for which it does not (Groq, Mistral and Google
are among the latter); vendors that it does not name are taken to stop. That holds for streams only: a plain call is
charged to its end everywhere. Default models: all are in the price table, which a test holds. Dialects: the vendors'
API references; where they list an assistant's `reasoning` or `reasoning_content` among what may be sent.
"""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from askonce.wire.openai import Dialect

Shape = Literal["openai", "anthropic", "gemini", "script"]

LOCAL = "local"
SCRIPTED = "scripted"

_HOSTED = ("streaming", "system", "seed", "stop")
_SELF_HOSTED = (*_HOSTED, "local")


class Vendor(Struct, frozen=True):
    """Hold one row. `name` is what callers write before the colon; `title` what people read.

    `key_variables`: the first that is set counts. `base_variable` overrides `base_url`. `prices`: the name in the
    price data, "" for none. `free`: nothing is charged for a call. `drains`: hanging up does not stop the charging.
    `open_ended`: it may have models that no list of ours names (newer than this version, or the owner's own), so a
    name that is asked for with its provider is passed on. `model_prefix` stands before the price data's names.
    `key_header`: the header that takes the key as it is; "" for `Authorization: Bearer`. `path`: what an address
    without a path is completed with. A row that needs a key and has no `base_url` gets its address from its owner.
    `own_machine`: what is hung up there is not charged, whoever's row it is.
    """

    name: str
    title: str
    base_url: str = ""
    key_variables: tuple[str, ...] = ()
    base_variable: str = ""
    needs_key: bool = True
    default_model: str = ""
    prices: str = ""
    model_prefix: str = ""
    free: bool = False
    drains: bool = False
    open_ended: bool = True
    capabilities: tuple[str, ...] = _HOSTED
    dialect: Dialect = Dialect()
    shape: Shape = "openai"
    key_header: str = ""
    path: str = ""
    own_machine: bool = False

    @property
    def variable(self) -> str:
        """Name the environment variable that configures this vendor, "" where none does."""
        return self.key_variables[0] if self.key_variables and self.needs_key else self.base_variable

    @property
    def drains_plain(self) -> bool:
        """Say whether a plain call is charged to its end whoever hangs up, as everywhere but at one's own machine."""
        return not (self.free or self.own_machine)

    @property
    def cure(self) -> str:
        """Tell how to configure this vendor, to follow "to use it" or a colon."""
        if self.name == SCRIPTED:
            return "set its script in [providers.scripted] of askonce.toml"
        if self.name == LOCAL:
            return "set ASKONCE_LOCAL_MODEL=on"
        if self.needs_key and not self.base_url:
            return f"set {self.variable} and {self.base_variable}"
        return f"set {self.variable}" if self.variable else "set its base_url in askonce.toml"


VENDORS: tuple[Vendor, ...] = (
    Vendor(
        name="openai",
        title="OpenAI",
        base_url="https://api.openai.com/v1",
        key_variables=("OPENAI_API_KEY",),
        base_variable="OPENAI_BASE_URL",
        default_model="gpt-5-mini",
        prices="openai",
        dialect=Dialect(max_completion_tokens=True, developer=True, thinking="", closed=True),
    ),
    Vendor(
        name="anthropic",
        title="Anthropic",
        base_url="https://api.anthropic.com",
        key_variables=("ANTHROPIC_API_KEY",),
        base_variable="ANTHROPIC_BASE_URL",
        default_model="claude-haiku-4-5",
        prices="anthropic",
        capabilities=("streaming", "system", "stop"),
        shape="anthropic",
    ),
    Vendor(
        name="gemini",
        title="Google Gemini",
        base_url="https://generativelanguage.googleapis.com/v1beta",
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        base_variable="GEMINI_BASE_URL",
        default_model="gemini-3.5-flash",
        prices="google",
        drains=True,
        shape="gemini",
        key_header="x-goog-api-key",
        path="/v1beta",
    ),
    # Microsoft's "Azure OpenAI v1 API": the plain shape without `api-version`, the key in a header of its own, and a
    # deployment's name where the model's stands. Prices are found by the version that it answers with.
    Vendor(
        name="azure",
        title="Azure OpenAI",
        key_variables=("AZURE_OPENAI_API_KEY",),
        base_variable="AZURE_OPENAI_ENDPOINT",
        prices="azure",
        dialect=Dialect(max_completion_tokens=True, developer=True, thinking="", closed=True),
        key_header="api-key",
        path="/openai/v1",
    ),
    # AWS, "Invoke a model with the OpenAI Chat Completions API": its models of that shape, at the region's address
    # (https://bedrock-runtime.us-west-2.amazonaws.com); the address's variable is that of OpenAI's own libraries.
    Vendor(
        name="bedrock",
        title="Amazon Bedrock",
        key_variables=("AWS_BEARER_TOKEN_BEDROCK",),
        base_variable="AWS_BEDROCK_BASE_URL",
        default_model="openai.gpt-oss-120b-1:0",
        prices="aws",
        drains=True,
        path="/openai/v1",
    ),
    Vendor(
        name="xai",
        title="xAI",
        base_url="https://api.x.ai/v1",
        key_variables=("XAI_API_KEY",),
        base_variable="XAI_BASE_URL",
        default_model="grok-4.5",
        prices="x-ai",
    ),
    Vendor(
        name="mistral",
        title="Mistral",
        base_url="https://api.mistral.ai/v1",
        key_variables=("MISTRAL_API_KEY",),
        base_variable="MISTRAL_BASE_URL",
        default_model="codestral-latest",
        prices="mistral",
        drains=True,
        # Its schema admits no fields but its own; usage comes with the last piece of every stream.
        dialect=Dialect(stream_options=False, seed="random_seed", thinking="parts", closed=True),
    ),
    Vendor(
        name="deepseek",
        title="DeepSeek",
        base_url="https://api.deepseek.com/v1",
        key_variables=("DEEPSEEK_API_KEY",),
        base_variable="DEEPSEEK_BASE_URL",
        default_model="deepseek-v4-flash",
        prices="deepseek",
    ),
    Vendor(
        name="groq",
        title="Groq",
        base_url="https://api.groq.com/openai/v1",
        key_variables=("GROQ_API_KEY",),
        base_variable="GROQ_BASE_URL",
        default_model="openai/gpt-oss-120b",
        prices="groq",
        drains=True,
        dialect=Dialect(thinking="reasoning", closed=True),
    ),
    Vendor(
        name="cerebras",
        title="Cerebras",
        base_url="https://api.cerebras.ai/v1",
        key_variables=("CEREBRAS_API_KEY",),
        base_variable="CEREBRAS_BASE_URL",
        default_model="gpt-oss-120b",
        prices="cerebras",
        dialect=Dialect(thinking="", closed=True),
    ),
    Vendor(
        name="together",
        title="Together",
        base_url="https://api.together.xyz/v1",
        key_variables=("TOGETHER_API_KEY",),
        base_variable="TOGETHER_BASE_URL",
        default_model="openai/gpt-oss-120b",
        prices="together",
        dialect=Dialect(thinking="reasoning"),
    ),
    Vendor(
        name="fireworks",
        title="Fireworks",
        base_url="https://api.fireworks.ai/inference/v1",
        key_variables=("FIREWORKS_API_KEY",),
        base_variable="FIREWORKS_BASE_URL",
        default_model="accounts/fireworks/models/gpt-oss-120b",
        prices="fireworks",
        model_prefix="accounts/fireworks/models/",
    ),
    Vendor(
        name="openrouter",
        title="OpenRouter",
        base_url="https://openrouter.ai/api/v1",
        key_variables=("OPENROUTER_API_KEY",),
        base_variable="OPENROUTER_BASE_URL",
        default_model="openai/gpt-5-mini",
        prices="openrouter",
        dialect=Dialect(developer=True, thinking="reasoning_details", cache_control=True),
    ),
    Vendor(
        name="ollama",
        title="Ollama",
        base_url="http://127.0.0.1:11434/v1",
        key_variables=("OLLAMA_API_KEY",),
        base_variable="OLLAMA_HOST",
        needs_key=False,
        free=True,
        capabilities=_SELF_HOSTED,
        dialect=Dialect(thinking="reasoning"),
    ),
    Vendor(
        name="vllm",
        title="vLLM",
        base_url="http://127.0.0.1:8000/v1",
        key_variables=("VLLM_API_KEY",),
        base_variable="VLLM_BASE_URL",
        needs_key=False,
        free=True,
        capabilities=_SELF_HOSTED,
    ),
    Vendor(
        name="lmstudio",
        title="LM Studio",
        base_url="http://127.0.0.1:1234/v1",
        key_variables=("LMSTUDIO_API_KEY",),
        base_variable="LMSTUDIO_BASE_URL",
        needs_key=False,
        free=True,
        capabilities=_SELF_HOSTED,
    ),
    Vendor(
        name="llamacpp",
        title="llama.cpp",
        base_url="http://127.0.0.1:8080/v1",
        key_variables=("LLAMA_API_KEY",),
        base_variable="LLAMACPP_BASE_URL",
        needs_key=False,
        free=True,
        capabilities=_SELF_HOSTED,
    ),
    Vendor(name=SCRIPTED, title="The scripted provider", needs_key=False, free=True, shape="script"),
    Vendor(
        name=LOCAL,
        title="The embedded model",
        needs_key=False,
        free=True,
        open_ended=False,
        capabilities=_SELF_HOSTED,
    ),
)

_BY_NAME = {vendor.name: vendor for vendor in VENDORS}
# What a provider may be called: short, and without the colon that ends it in `openai:gpt-4o`.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")


def vendor_named(name: str) -> Vendor | None:
    """Find a row of the catalog."""
    return _BY_NAME.get(name)


def wants_local_model(setting: str, configured: Iterable[str]) -> bool:
    """Say whether the embedded model is to run: asked for, or `auto` and nobody else is configured who could answer.

    `setting` is `ASKONCE_LOCAL_MODEL`, `configured` the names of the providers.
    """
    return not any(configured) if setting == "auto" else setting != "off"


def custom(name: str, base_url: str) -> Vendor:
    """Make a row for an OpenAI-shaped endpoint that the catalog does not have. Raises ValueError for a bad name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a provider: use up to 40 lower-case letters, digits, `.`, `_` and `-`.")
    url = normal_base_url(name, base_url)
    return Vendor(name=name, title=name, base_url=url, needs_key=False, own_machine=is_near(url))


def at(vendor: Vendor, base_url: str) -> Vendor:
    """Move a row to another address; elsewhere than at its vendor's it needs no key.

    Hanging up costs what it costs at the vendor, who may stand behind the new address, unless that is near.
    """
    moved = normal_base_url(vendor.name, base_url)
    if moved == vendor.base_url:
        return vendor
    if vendor.needs_key and not vendor.base_url:  # its owner's address at this very vendor
        return replace(vendor, base_url=moved)
    near = is_near(moved)
    return replace(vendor, base_url=moved, needs_key=False, drains=vendor.drains and not near, own_machine=near)


def stated(vendor: Vendor, own_machine: bool | None) -> Vendor:
    """Take the owner's word for whose machine it is, None for none. Who is not one's own may charge for all."""
    if own_machine is None:
        return vendor
    row = vendor_named(vendor.name) or vendor
    drains = row.drains and not own_machine
    return replace(vendor, own_machine=own_machine, free=vendor.free and own_machine, drains=drains)


def is_near(url: str) -> bool:
    """Say whether an address is loopback, in a private network (RFC 1918, RFC 4193), or a name without a dot."""
    host = urlsplit(url).hostname or ""
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".localhost", ".local", ".internal"))
    return address.is_loopback or address.is_private or address.is_link_local


def normal_base_url(name: str, url: str) -> str:
    """Complete an address as people write it: scheme, the vendor's path, for Ollama its port. Raises ValueError.

    `OLLAMA_HOST` is read as Ollama itself reads it: `host`, `host:port` or a URL; 0.0.0.0 means this machine.
    """
    url = url.strip()
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if "@" in parts.netloc:  # not repeated: what stands before it is secret
        raise ValueError(f"The base URL of {name} holds a user or password; put the key in its api_key instead.")
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.query:
        raise ValueError(f"{url!r} is not a base URL such as https://api.example.com/v1.")
    if name != "ollama":
        vendor = vendor_named(name)
        plain = parts.geturl().rstrip("/")
        return plain if parts.path.strip("/") or vendor is None else plain + vendor.path
    host = "127.0.0.1" if parts.hostname in ("0.0.0.0", "::") else parts.hostname  # noqa: S104  # asked, not bound
    host = f"[{host}]" if ":" in host else host
    port = port or (443 if parts.scheme == "https" else 11434)
    return f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/') or '/v1'}"
