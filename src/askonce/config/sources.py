"""Where settings come from: the file, the environment, the command line; the later wins. Nothing is read from here on.

A written value keeps its origin, so that every message and `askonce config` can name it.
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from askonce.config.table import BY_KEY, NOT_YET_REMARKED, OTHER_VARIABLES, SETTINGS
from askonce.config.values import Raw
from askonce.domain.errors import ConfigError

FILE_NAME = "askonce.toml"
_TABLES = ("providers", "aliases", "groups", "routing")
_PREFIX = "ASKONCE_"
_SHOWN_VALUE = 60  # characters of a wrong value that a message repeats


class Written(Struct, frozen=True):
    """Hold a value as it was written, where, and the folder that its relative paths start from."""

    raw: Raw
    origin: str
    folder: str


class Document(Struct, frozen=True):
    """Hold a parsed askonce.toml; `path` is "" where there is none."""

    path: str = ""
    values: dict[str, object] = {}

    @property
    def folder(self) -> str:
        """Name the folder that relative paths of the file start from."""
        return str(Path(self.path).parent)

    def table(self, name: str) -> dict[str, object]:
        """Return one of the file's tables, empty if it is not there. Raises `ConfigError` if it is no table."""
        table = self.values.get(name, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{self.path}: {name} must be a table; write [{name}] on a line of its own.")
        return table


def find_file(environ: Mapping[str, str], given: Path | None) -> Path | None:
    """Choose askonce.toml: the one given, ASKONCE_CONFIG, the working folder's, the user's. None if there is none."""
    named = given or (Path(environ["ASKONCE_CONFIG"]) if environ.get("ASKONCE_CONFIG") else None)
    if named is not None:
        named = named.expanduser()
        if not named.is_file():
            raise ConfigError(f"There is no configuration file {named}; correct --config or ASKONCE_CONFIG.")
        return named
    home = environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    candidates = (Path(FILE_NAME), Path(home) / "askonce" / FILE_NAME)
    return next((path for path in candidates if path.is_file()), None)


def read_file(path: Path | None) -> Document:
    """Parse askonce.toml. Raises `ConfigError` with the line of a syntax error or the name of an unknown key."""
    if path is None:
        return Document()
    path = path.absolute()
    try:
        values = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); correct its permissions.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 at byte {error.start}; save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error
    known = (*BY_KEY, *_TABLES)
    for key in values:
        if key not in known:
            raise ConfigError(f"{path}: there is no setting {key}{nearest(key, known)}; correct or remove it.")
    return Document(str(path), values)


def from_file(document: Document) -> dict[str, Written]:
    """Pick the plain settings out of the file."""
    picked = {}
    for key in BY_KEY.keys() & document.values.keys():
        raw = document.values[key]
        if not isinstance(raw, str | int | float | bool | list):
            raise ConfigError(f"{document.path}: {key} must be a plain value, not {type(raw).__name__}.")
        picked[key] = Written(raw, document.path, document.folder)
    return picked


def from_environment(environ: Mapping[str, str]) -> dict[str, Written]:
    """Pick our variables out of the environment. Unknown ones raise `ConfigError`.

    Empty ones count as absent; blank ones too, except a guard's: that must not be open because of a slip.
    """
    by_env = {setting.env: setting.key for setting in SETTINGS}
    known = (*by_env, *OTHER_VARIABLES)
    for name in environ:
        if name.startswith(_PREFIX) and name not in known:
            raise ConfigError(f"There is no setting {name}{nearest(name, known, _PREFIX)}; correct or unset it.")
    picked = {
        key: Written(environ[env], f"environment {env}", ".")
        for env, key in by_env.items()
        if environ.get(env, "").strip() or (key == "keys" and environ.get(env))
    }
    for setting in SETTINGS:
        if setting.also and setting.key not in picked and environ.get(setting.also, "").strip():
            picked[setting.key] = Written(environ[setting.also], f"environment {setting.also}", ".")
    return picked


def from_arguments(overrides: Mapping[str, str]) -> dict[str, Written]:
    """Take what the command line said, by key."""
    for key in overrides:
        if key not in BY_KEY:
            raise ConfigError(f"There is no setting {key}{nearest(key, BY_KEY)}; `askonce config` lists them.")
    return {key: Written(raw, "command line", ".") for key, raw in overrides.items()}


def remarks(environ: Mapping[str, str]) -> tuple[str, ...]:
    """List what was found and will not be used, in sentences for the log."""
    return tuple(f"{name} is set, but this version does not use it." for name in NOT_YET_REMARKED if environ.get(name))


def understand(key: str, written: Written) -> object:
    """Read one value by its row of the table. Raises `ConfigError` naming key, value, origin and cure."""
    setting = BY_KEY[key]
    try:
        value = setting.read(written.raw)
    except ValueError as error:
        shown = "(hidden)" if setting.secret else repr(written.raw)[:_SHOWN_VALUE]
        raise ConfigError(f"{key} = {shown} ({written.origin}): must be {error}.") from None
    return absolute(str(value), written.folder) if setting.path else value


def absolute(path: str, folder: str) -> str:
    """Make a path absolute, starting from the folder; `~` is the home."""
    return str((Path(folder) / Path(path).expanduser()).absolute())


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """Return ` (did you mean …?)` for the nearest known word, or "". What all share, `prefix`, does not count."""
    words = [one.removeprefix(prefix) for one in known]
    found = difflib.get_close_matches(word.removeprefix(prefix), words, n=1)
    return f" (did you mean {prefix}{found[0]}?)" if found else ""
