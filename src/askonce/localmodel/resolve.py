"""What `ASKONCE_LOCAL_MODEL` means: weights of the catalog, or a GGUF file that is already on this machine."""

from pathlib import Path

import msgspec
from msgspec import Struct

from askonce.domain.errors import ConfigError
from askonce.localmodel.weights import DEFAULT, FALLBACK, Weights, find

KEY = "ASKONCE_LOCAL_MODEL"
GGUF_MAGIC = b"GGUF"
_CURE = "Name one that is there, or set it to auto or off."
OLLAMA_WEIGHTS = "application/vnd.ollama.image.model"  # the layer of an Ollama manifest that is the GGUF file


class OnDisk(Struct, frozen=True):
    """Name a GGUF file that its owner put on this machine; its content is trusted as its owner trusts it."""

    name: str
    path: Path


class _Layer(Struct):
    media_type: str = msgspec.field(name="mediaType")
    digest: str


class _Manifest(Struct):
    layers: list[_Layer]


def resolve(setting: str, models_dir: Path, home: Path | None = None) -> tuple[Weights, ...] | OnDisk:
    """Find what the setting means: weights in order of preference, or a file.

    `auto` and `on` mean the default weights and, where those cannot be had, a smoke-test model. Further: a name of
    the catalog, a path, a file in `models_dir`, `ollama:NAME[:TAG]`, `lmstudio:OWNER/REPO[/FILE]`,
    `hub:OWNER/REPO[/FILE]`. Raises `ConfigError`.
    """
    if setting in ("auto", "on"):
        return (find(DEFAULT), find(FALLBACK))
    scheme, _, name = setting.partition(":")
    home = home or Path.home()
    if scheme == "ollama":
        return _checked(setting, name, _in_ollama(setting, name, home / ".ollama" / "models"))
    if scheme == "lmstudio":
        return _in_repo(setting, name, [home / ".lmstudio" / "models", home / ".cache" / "lm-studio" / "models"])
    if scheme == "hub":
        return _in_hub(setting, name, home / ".cache" / "huggingface" / "hub")
    if "/" in setting or setting.endswith(".gguf"):
        path = Path(setting).expanduser()
        inside = models_dir / setting
        return _checked(setting, path.stem, inside if not path.exists() and inside.exists() else path)
    try:
        return (find(setting),)
    except ConfigError as error:
        raise ConfigError(f"{KEY}={setting}: {error} {_CURE}") from error


def presumed_name(setting: str) -> str:
    """Return what a model is called as long as it cannot be found: as `resolve` would call it, or nearly so."""
    if setting in ("auto", "on"):
        return DEFAULT
    scheme, colon, name = setting.partition(":")
    plain = name if colon and scheme in ("ollama", "lmstudio", "hub") else Path(setting).name
    return _callable(plain) or DEFAULT


def _in_ollama(setting: str, name: str, models: Path) -> Path:
    """Read the manifest of a pulled model and return the path of its weights."""
    model, _, tag = name.partition(":")
    parts = model.split("/")
    owned = ["library", *parts] if len(parts) == 1 else parts
    hosted = owned if "." in owned[0] else ["registry.ollama.ai", *owned]
    manifest = models.joinpath("manifests", *hosted, tag or "latest")
    try:
        layers = msgspec.json.decode(manifest.read_bytes(), type=_Manifest).layers
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(
            f"{KEY}={setting}: Ollama has no such model here; `ollama list` shows those it has."
        ) from error
    digests = [layer.digest for layer in layers if layer.media_type == OLLAMA_WEIGHTS]
    if not digests:
        raise ConfigError(f"{KEY}={setting}: this Ollama model has no weights of its own.")
    return models / "blobs" / digests[0].replace(":", "-")


def _in_hub(setting: str, name: str, hub: Path) -> OnDisk:
    """Look into the hub's cache: the snapshot that `main` points at, else the youngest."""
    owner, _, rest = name.partition("/")
    repo, _, file = rest.partition("/")
    cached = hub / f"models--{owner}--{repo}"
    snapshots = sorted((cached / "snapshots").glob("*"), key=lambda path: path.stat().st_mtime, reverse=True)
    main = cached / "refs" / "main"
    if main.is_file():
        snapshots = [cached / "snapshots" / main.read_text().strip(), *snapshots]
    return _checked(setting, file or repo, _only_gguf(setting, file, snapshots))


def _in_repo(setting: str, name: str, roots: list[Path]) -> OnDisk:
    owner, _, rest = name.partition("/")
    repo, _, file = rest.partition("/")
    return _checked(setting, file or repo, _only_gguf(setting, file, [root / owner / repo for root in roots]))


def _only_gguf(setting: str, file: str, folders: list[Path]) -> Path:
    for folder in folders:
        found = sorted(path for path in folder.glob(file or "*.gguf") if "mmproj" not in path.name)
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(path.name for path in found)
            raise ConfigError(f"{KEY}={setting}: there are several files; add one of {names} after a slash.")
    raise ConfigError(
        f"{KEY}={setting}: there is no such GGUF file on this machine (looked in {folders or 'no folder'})."
    )


def _checked(setting: str, name: str, path: Path) -> OnDisk:
    """Refuse early what the engine would refuse with less to say."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except OSError as error:
        raise ConfigError(f"{KEY}={setting}: {path} cannot be read ({error.strerror}). {_CURE}") from error
    if magic != GGUF_MAGIC:
        raise ConfigError(f"{KEY}={setting}: {path} is not a GGUF file. {_CURE}")
    return OnDisk(name=_callable(name), path=path.resolve())


def _callable(name: str) -> str:
    """Make a name that callers can ask for: a colon would read as `provider:model`, a slash as part of a path."""
    return name.removesuffix(".gguf").replace(":", "-").replace("/", "-").lower()
