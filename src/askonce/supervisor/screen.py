"""What the supervisor shows to whoever started it: the first screen, and the fetching of weights as it goes on.

It goes to stdout; log lines go to stderr. On a terminal the bar is drawn over itself; elsewhere there is a line per ten
per cent. Keys are never shown.
"""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from askonce import __version__
from askonce.config.load import is_loopback
from askonce.config.paths import STATUS_NAME
from askonce.config.settings import Config
from askonce.gate.admission import NO_KEY
from askonce.localmodel.status import Status, read
from askonce.providers.catalog import wants_local_model

_BAR = 30  # characters
_STEP = 10  # per cent between lines
_PROMPT = "Write a Python function that reverses a string"
_ANYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - recognised, not bound


class Screen:
    """Show the first screen once, and the model's progress until it is there."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = out.isatty()
        self._shown = False
        self._last = ""
        self._drawn = False

    def ready(self, config: Config, port: int) -> None:
        """Show where to ask, how, and how to stop; does nothing the second time."""
        if not self._shown:
            self._shown = True
            self._print("\n".join(_first_screen(config, port)))

    def login(self, config: Config, port: int, word: str) -> None:
        """Show the first administrator's link: here only, as whoever has it is the administrator."""
        self._print(f"  admin    {address(config, port)}/login?word={word} logs in the first administrator, once")
        self._print("           and within the hour; `askonce users link` makes another\n")

    def weights(self, run: Path) -> None:
        """Show how far the embedded model is."""
        status = read(run / STATUS_NAME)
        if self._live and status.state == "fetching":
            self._draw(_bar(status))
            return
        line = _line(status)
        if line and line != self._last:
            self._last = line
            self._print(line)

    def close(self) -> None:
        """End what is being drawn."""
        if self._drawn:
            self._drawn = False
            self._write("\n")

    def _draw(self, line: str) -> None:
        self._drawn = True
        self._write(f"\r\x1b[2K{line}")

    def _print(self, text: str) -> None:
        self.close()
        self._write(text + "\n")

    def _write(self, text: str) -> None:
        """Write at once. That nobody reads any more, or a full disk, is no reason to stop serving."""
        with contextlib.suppress(OSError):
            self._out.write(text)
            self._out.flush()


def curl_line(config: Config, port: int) -> str:
    """Write a command that asks this server, ready to be copied; a placeholder stands for the key."""
    key = " -H 'Authorization: Bearer YOUR_KEY'" if config.keys or config.require_keys else ""
    body = json.dumps({"prompt": _PROMPT})
    return f"curl {address(config, port)}/llm/generate -H 'Content-Type: application/json'{key} -d '{body}'"


def address(config: Config, port: int) -> str:
    """Write the server's address as one can ask it from this machine."""
    host = "127.0.0.1" if config.host in _ANYWHERE else config.host.strip("[]")
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _first_screen(config: Config, port: int) -> Iterator[str]:
    yield f"\nAskonce {__version__} answers at {address(config, port)}\n"
    yield f"  {curl_line(config, port)}\n"
    at = address(config, port)
    yield f"  clients  OpenAI's at {at}/v1, Anthropic's at {at}{_client_key(config)}"
    if not is_loopback(config.host):
        yield f"  others   {_from_elsewhere(config, port)}"
    if not is_loopback(config.host) and not config.keys:
        yield "  WARNING  there are no keys: whoever reaches this address spends your money; set ASKONCE_KEYS"
    yield f"  models   {_who_answers(config)}"
    yield f"  data     {config.data_dir}"
    yield f'  more     {address(config, port)}/docs, `askonce ask "…"`, `askonce stats`, `askonce doctor`'
    yield f"  to stop  Ctrl-C, or kill {os.getpid()}\n"


def _client_key(config: Config) -> str:
    """Say what to give clients that insist on a key where none is needed."""
    return "" if config.keys or config.require_keys else f", with the key `{NO_KEY}`"


def _from_elsewhere(config: Config, port: int) -> str:
    """Write the address that other machines use: where all are listened on, the one that leads out of here."""
    if config.host not in _ANYWHERE:
        return address(config, port)
    family, somewhere = (socket.AF_INET6, "2001:db8::1") if ":" in config.host else (socket.AF_INET, "192.0.2.1")
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((somewhere, 9))  # sends nothing: it only asks which way the system would go
            host = str(probe.getsockname()[0])
        except OSError:
            host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _who_answers(config: Config) -> str:
    configured = [provider.name for provider in config.providers]
    names = list(configured)
    if wants_local_model(config.local_model, configured):
        names.append("the embedded model")
    first = f", {config.default_model} unless a request names another" if config.default_model else ""
    return (", ".join(names) + first) if names else "none: set a vendor's key, or ASKONCE_LOCAL_MODEL=on"


def _bar(status: Status) -> str:
    share = min(1.0, status.done / status.total) if status.total else 0.0
    full = round(share * _BAR)
    sizes = f"{status.done / 1e6:.0f} of {status.total / 1e6:.0f} MB"
    return f"  {status.detail} [{'#' * full}{'.' * (_BAR - full)}] {share:4.0%} {sizes}"


def _line(status: Status) -> str:
    if status.state == "fetching":
        percent = 100 * status.done // status.total if status.total else 0
        return f"  {status.detail} {percent // _STEP * _STEP} % of {status.total / 1e6:.0f} MB"
    if status.state == "ready":
        return f"  The embedded model is ready. {status.detail}"
    return f"  {status.detail}" if status.state in {"loading", "failed"} else ""
