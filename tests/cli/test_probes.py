"""What a probe sends where, and what it makes of the answer."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from askonce.cli.probes import probe
from askonce.config.settings import ProviderSettings
from askonce.providers.network import Network


class Endpoint(ThreadingHTTPServer):
    """Answer everything with one status, and write down paths and keys."""

    def __init__(self, status: int, location: str = "") -> None:
        self.status, self.location = status, location
        self.heard: list[tuple[str, str]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_GET(self) -> None:
        key = self.headers.get("Authorization", "") + self.headers.get("x-api-key", "")
        self.server.heard.append((self.path, key))
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def endpoint(status: int, location: str = "") -> Iterator[Endpoint]:
    with Endpoint(status, location) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["openai", "anthropic", "mine"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_told_and_no_key_follows_it(name: str, status: int) -> None:
    with endpoint(200) as elsewhere, endpoint(status, elsewhere.url) as asked:
        said = probe(ProviderSettings(name, asked.url, "sk-secret"), Network())
        assert f"redirect ({status})" in said
        assert [("sk-secret" in key) for _, key in asked.heard] == [True]
        assert elsewhere.heard == []


@pytest.mark.parametrize(
    ("name", "status", "says"),
    [
        ("openai", 200, ""),
        ("openai", 404, ""),
        ("openai", 401, "correct OPENAI_API_KEY"),
        ("mine", 403, "correct its api_key"),
        ("mine", 500, "answers 500"),
    ],
)
def test_an_answer_is_judged(name: str, status: int, says: str) -> None:
    with endpoint(status) as asked:
        said = probe(ProviderSettings(name, asked.url, "sk-secret"), Network())
        assert asked.heard == [("/v1/models", "Bearer sk-secret")]
    assert says in said
    assert bool(said) == bool(says)


@pytest.mark.parametrize(
    ("provider", "says"),
    [
        (ProviderSettings("openai"), "set OPENAI_API_KEY"),
        (
            ProviderSettings("openai", "http://127.0.0.1:1/v1", "k"),
            "http://127.0.0.1:1/v1/models: OpenAI is not running",
        ),
        (ProviderSettings("openai", "http://127.0.0.1:1/v1", "k\nHost: evil"), "copy it again"),
        (ProviderSettings("scripted", script="s"), ""),
    ],
)
def test_what_cannot_be_asked_is_named(provider: ProviderSettings, says: str) -> None:
    said = probe(provider, Network())
    assert says in said
    assert bool(said) == bool(says)
