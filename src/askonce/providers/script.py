"""What a script for the `scripted` provider may hold, and how it is read. TOML, or JSON where the name ends in .json.

    count_file = "calls.log"      # one line is appended for every call, by every process
    [[play]]                      # the first play that fits, and is not used up, answers
    model = "demo"                # fits this model only
    contains = "hello"            # fits if the last user message holds this text
    last = "user"                 # fits if the last message has this role (`tool`: a tool's result has come)
    text = "Hello, {prompt}"      # or chunks = ["Hel", {text = "lo", after_ms = 20}]
    dimensions = 8                # or embeddings: for every text a vector of its own, always the same
    thinking = "They greet me."   # comes before the text
    tool_calls = [{name = "look", arguments = {place = "Rome"}}]  # come after the text, or without any
    times = 1                     # answers so often (per process), then the next that fits

In texts `{prompt}` (the last user message), `{result}` (the last tool's result) and `{model}` are filled in. Arguments
are a table, or JSON text byte for byte. Further fields of a play: `delay_ms` (before anything), `chunk_ms` (before
every chunk), `hang` (never answer), `cut_after` (break off after so many chunks), `error` (`status`, `code`,
`message`, `retry_after_s`: refuse as a vendor would), `finish`, `usage` (left out: counted, as for a vendor that sends
none), `model_version`.
"""

import re
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from askonce.config.mistyped import in_words
from askonce.domain.answer import FinishReason
from askonce.domain.call import Kind
from askonce.domain.errors import ConfigError

MAX_SCRIPT_BYTES = 16 << 20  # scripts are written by hand or by a test; this is a wrong file
MAX_DIMENSIONS = 4096  # the longest vectors that vendors sell
_WORDS = re.compile(r"\s*\S+\s*")


class Chunk(Struct, frozen=True, forbid_unknown_fields=True):
    """Hold one piece of a stream and the milliseconds before it."""

    text: str
    after_ms: int = 0


class ScriptedError(Struct, frozen=True, forbid_unknown_fields=True):
    """Hold a refusal, as a vendor would send it."""

    status: int
    code: str = ""
    message: str = ""
    retry_after_s: int | None = None


class ScriptedUsage(Struct, frozen=True, forbid_unknown_fields=True):
    """Hold the tokens to report."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


class ScriptedCall(Struct, frozen=True, forbid_unknown_fields=True):
    """Hold a tool call. Without an `id` it is `call_` and its number."""

    name: str
    arguments: str | dict[str, Any] = "{}"
    id: str = ""

    def text(self) -> str:
        """Return the arguments as JSON text."""
        if isinstance(self.arguments, str):
            return self.arguments
        return msgspec.json.encode(self.arguments).decode()


class Play(Struct, frozen=True, forbid_unknown_fields=True):
    """Hold what one kind of call is answered with."""

    model: str = ""
    contains: str = ""
    last: Literal["", "user", "assistant", "tool"] = ""
    times: int | None = None
    delay_ms: int = 0
    chunk_ms: int = 0
    text: str | None = None
    chunks: tuple[str | Chunk, ...] | None = None
    thinking: str = ""
    tool_calls: tuple[ScriptedCall, ...] = ()
    hang: bool = False
    cut_after: int | None = None
    error: ScriptedError | None = None
    finish: FinishReason | None = None
    usage: ScriptedUsage | None = None
    model_version: str = ""
    dimensions: int | None = None

    @property
    def kind(self) -> Kind | None:
        """Return the kind of call that this answers; an error or a wait comes to both."""
        if self.error is not None or self.hang:
            return None
        return "chat" if self.dimensions is None else "embedding"

    @property
    def ending(self) -> FinishReason:
        """Return why the answer ends: as said, else with its tool calls."""
        return self.finish or ("tool_calls" if self.tool_calls else "stop")

    def pieces(self) -> tuple[Chunk, ...]:
        """Return the chunks in order; a `text` is cut into its words."""
        if self.chunks is None:
            return tuple(Chunk(word, self.chunk_ms) for word in _WORDS.findall(self.text or ""))
        return tuple(Chunk(c, self.chunk_ms) if isinstance(c, str) else c for c in self.chunks)


class Script(Struct, frozen=True, forbid_unknown_fields=True):
    """Hold a whole script. `drains`: play a vendor whose calls are charged to their end."""

    play: tuple[Play, ...]
    count_file: str = ""
    drains: bool = False


def read_script(path: Path) -> Script:
    """Read and check a script. A relative `count_file` lies beside it. Raises `ConfigError` that names the place."""
    try:
        if path.stat().st_size > MAX_SCRIPT_BYTES:
            raise ConfigError(f"script {path}: over {MAX_SCRIPT_BYTES >> 20} MiB, which is no script.")
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"script {path}: cannot be read ({error.strerror}); name an existing file.") from None
    try:
        raw: Any = msgspec.json.decode(data) if path.suffix == ".json" else msgspec.toml.decode(data)
        script = msgspec.convert(raw, Script)
    except msgspec.ValidationError as error:
        raise ConfigError(f"script {path}: {in_words(error)}.") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ConfigError(f"script {path}: {error}.") from None
    for at, play in enumerate(script.play):
        if problem := _problem(play):
            raise ConfigError(f"script {path}: play {at + 1}: {problem}.")
    if not script.play:
        raise ConfigError(f"script {path}: holds no play; add one as [[play]] with a text.")
    if script.count_file:
        return msgspec.structs.replace(script, count_file=str(path.parent / script.count_file))
    return script


def _problem(play: Play) -> str:
    said = [play.text is not None, play.chunks is not None]
    ways = [any(said) or bool(play.tool_calls), play.error is not None, play.hang, play.dimensions is not None]
    if sum(ways) != 1 or all(said):
        return "give exactly one of text, chunks, dimensions, error and hang, or tool_calls"
    if play.dimensions is not None and not 1 <= play.dimensions <= MAX_DIMENSIONS:
        return f"dimensions count from 1 to {MAX_DIMENSIONS}"
    if play.error is not None and not 300 <= play.error.status <= 599:
        return f"error.status {play.error.status} is no refusal; use 300 to 599"
    waits = [play.delay_ms, play.chunk_ms, play.cut_after or 0, *(piece.after_ms for piece in play.pieces())]
    if min(waits) < 0 or (play.times is not None and play.times < 1):
        return "delay_ms, chunk_ms, after_ms and cut_after count from 0, times from 1"
    return ""
