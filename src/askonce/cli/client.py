"""Talk to a running server: one request per connection, by the standard library, as nothing here is in a hurry."""

import http.client
import json
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from askonce.cli.exits import CommandFailed, Misused, Refused, Unreachable
from askonce.cli.reasons import reason

CONNECT_S = 5.0
READ_S = 660.0  # longer than a provider call may take: the server ends it with a reason, not we
RETRIES, RETRY_S = 5, 1.0  # in a row, of a stream that can be joined again; a restart takes two seconds
_MAX_BODY = 64 << 20
FAILED = 500  # from here on the server could not; below it would not
_UNKNOWN_KEY = 401
NOTHING_LEFT = 204
_MAX_LINE = 32 << 20  # one event of a stream: the last one carries the whole answer


class Server(Struct, frozen=True):
    """Name a server and the key that is sent to it ("" for none)."""

    url: str
    key: str = ""

    def get(self, path: str) -> dict[str, Any]:
        """Fetch a JSON object. Raises `Unreachable`, `Refused` or, where the server failed, `CommandFailed`."""
        return _object(self._read(self._open("GET", path, None)))

    def look(self, path: str) -> tuple[int, dict[str, Any]]:
        """Fetch a JSON object and its status, whatever that is. Raises `Unreachable`."""
        reply = self._exchange("GET", path, None)
        return reply.status, _object(self._read(reply))

    def stream(self, path: str, body: Mapping[str, object]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Post JSON and yield the events of the answer with their data. Raises as `get`."""
        reply = self._open("POST", path, json.dumps(body).encode())
        try:
            for event in _events(reply):
                yield event.name, event.data
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error) from error

    def follow(self, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the events of a path, from the first one to the last `done`.

        What breaks off is joined again behind the last event. Raises as `get`, where it breaks several times in a row.
        """
        last, name, tries = "", "", RETRIES
        while True:
            broken = CommandFailed(f"The events of {self.url} break off again and again.")
            try:
                reply = self._open("GET", path, None, {"Last-Event-ID": last} if last else {})
                if reply.status == NOTHING_LEFT:
                    return
                for event in _events(reply):
                    last, name, tries = event.id or last, event.name, RETRIES
                    yield name, event.data
                if name == "done":
                    return
            except (OSError, http.client.HTTPException) as error:
                broken = self._broken(error)
            except Unreachable as error:
                broken = error
            if not tries:
                raise broken
            tries -= 1
            time.sleep(RETRY_S)

    def delete(self, path: str) -> dict[str, Any]:
        """Delete what is there, and return the JSON answer. Raises as `get`."""
        return _object(self._read(self._open("DELETE", path, None)))

    def fetch(self, path: str) -> str:
        """Fetch a text. Raises as `get`."""
        return self._read(self._open("GET", path, None)).decode(errors="replace")

    def post(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        """Post JSON and return the JSON answer. Raises as `get`."""
        return _object(self._read(self._open("POST", path, json.dumps(body).encode())))

    def post_lines(self, path: str, lines: bytes) -> dict[str, Any]:
        """Post JSON lines and return the JSON answer. Raises as `get`."""
        return _object(self._read(self._open("POST", path, lines, {"Content-Type": "application/jsonl"})))

    def _read(self, reply: http.client.HTTPResponse) -> bytes:
        try:
            return reply.read(_MAX_BODY)
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error) from error

    def _broken(self, error: OSError | http.client.HTTPException) -> CommandFailed:
        return CommandFailed(f"The connection to {self.url} broke: {reason(error)}.")

    def _open(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] = {}
    ) -> http.client.HTTPResponse:
        reply = self._exchange(method, path, body, headers)
        if reply.status >= 400:
            said = refusal(reply.status, self._read(reply))
            raise CommandFailed(said) if reply.status >= FAILED else Refused(said)
        return reply

    def _exchange(
        self, method: str, path: str, body: bytes | None, more: Mapping[str, str] = {}
    ) -> http.client.HTTPResponse:
        headers = {"Accept": "application/json, text/event-stream"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        headers |= more
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        connection, prefix = _connection(self.url)
        try:
            connection.connect()
            assert connection.sock is not None  # noqa: S101 - for the type checker
            connection.sock.settimeout(READ_S)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(
                f"No server answers at {self.url} ({reason(error)}); start one with `askonce serve`, or set "
                "ASKONCE_URL."
            ) from error
        try:
            connection.request(method, prefix + path, body, headers)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error) from error


def refusal(status: int, body: bytes) -> str:
    """Say in one line what the server's error says."""
    try:
        error = json.loads(body)
        details = "".join(f"\n  {one['field']}: {one['problem']}" for one in error.get("details") or ())
        cure = " Send a key with --key or ASKONCE_KEY." if status == _UNKNOWN_KEY else ""
        return f"{error['error']}: {error['message']} ({status} {error['code']}){cure}{details}"
    except (ValueError, KeyError, TypeError):
        return f"The server answered {status} without saying why."


def _connection(url: str) -> tuple[http.client.HTTPConnection, str]:
    try:
        parts = urlsplit(url if "://" in url else "http://" + url)
        port = parts.port
    except ValueError as error:
        raise Misused(f"{url!r} is no address ({error}); correct --url or ASKONCE_URL.") from error
    bare = "://" not in url and port is None and "." not in (parts.hostname or "") and parts.hostname != "localhost"
    if parts.scheme not in {"http", "https"} or not parts.hostname or bare:
        raise Misused(f"{url!r} is no address such as http://127.0.0.1:3001; correct --url or ASKONCE_URL.")
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(parts.hostname, port, timeout=CONNECT_S, context=context), parts.path.rstrip(
            "/"
        )
    return http.client.HTTPConnection(parts.hostname, port, timeout=CONNECT_S), parts.path.rstrip("/")


class _Event(Struct, frozen=True):
    name: str
    data: dict[str, Any]
    id: str


def _events(reply: http.client.HTTPResponse) -> Iterator[_Event]:
    """Read server-sent events: `event:`, `id:` and `data:` lines up to an empty one; comments are keep-alives."""
    name, id, data = "message", "", []
    while line := reply.readline(_MAX_LINE):
        field, _, value = line.decode().rstrip("\r\n").partition(":")
        if field == "event":
            name = value.strip()
        elif field == "id":
            id = value.strip()
        elif field == "data":
            data.append(value.removeprefix(" "))
        elif not line.strip() and data:
            yield _Event(name, _object("\n".join(data).encode()), id)
            name, data = "message", []


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise CommandFailed("What answered does not speak Askonce's language; look at --url or ASKONCE_URL.")
    return value
