"""The certificates in `tls/` are for these tests only: an authority without its key, and a server of loopback."""

import asyncio
import base64
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.providers.upstream import Upstream, answer

from askonce.domain.errors import ConfigError, ProviderFailed
from askonce.providers import network as network_module
from askonce.providers.http import Http, Limits, Request
from askonce.providers.network import Network, Proxy, is_loopback

TLS = Path(__file__).parent / "tls"
AUTHORITY = str(TLS / "ca.pem")
LIMITS = Limits(5, 5, 5, 5)


class TlsUpstream(Upstream):
    scheme = "https"

    def tls(self) -> Any:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(TLS / "server.pem")
        return context


async def fetch(network: Network, url: str, times: int = 1) -> bytes:
    http = Http(network)
    try:
        for _ in range(times):
            async with http.exchange(Request("POST", url, (), b"{}", "Vendor"), LIMITS) as reply:
                body = await reply.body()
        return body
    finally:
        await http.close()


class ForwardProxy:
    """An HTTP proxy on loopback that tunnels everything to one port and writes down what it was asked."""

    def __init__(self, target_port: int, status: bytes = b"200 OK") -> None:
        self.target_port = target_port
        self.status = status
        self.heads: list[bytes] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "ForwardProxy":
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = f"http://us%40er:pass@127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        there = await asyncio.open_connection("127.0.0.1", self.target_port)
        if head.startswith(b"CONNECT"):
            writer.write(b"HTTP/1.1 " + self.status + b"\r\n\r\n")
        else:
            there[1].write(head)
        for source, sink in ((reader, there[1]), (there[0], writer)):
            task = asyncio.create_task(self.copy(source, sink))
            self.tasks.add(task)

    async def copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
        except ConnectionError:
            pass
        finally:
            sink.close()


def test_a_private_authority_is_trusted_where_it_is_named() -> None:
    async def main() -> None:
        async with TlsUpstream(answer()) as up:
            assert b"Hello" in await fetch(Network(ca_file=AUTHORITY), up.base_url)
            assert b"Hello" in await fetch(Network(ca_file=AUTHORITY), up.base_url.replace("127.0.0.1", "localhost"))
            assert up.seen[1].headers["host"] == f"localhost:{up.port}"

    asyncio.run(main())


def test_a_certificate_of_an_unknown_authority_is_refused() -> None:
    async def main() -> None:
        async with TlsUpstream(answer()) as up:
            with pytest.raises(ProviderFailed, match=r"not trusted.*SSL_CERT_FILE"):
                await fetch(Network(), up.base_url)
            assert up.seen == []

    asyncio.run(main())


def test_a_server_that_speaks_no_tls_is_the_vendors_failure() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(ProviderFailed, match=r"over TLS|closed the connection"):
                await fetch(Network(), f"https://127.0.0.1:{port}/v1")

    asyncio.run(main())


def test_tls_goes_through_the_proxys_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_module, "is_loopback", lambda host: False)

    async def main() -> None:
        async with TlsUpstream(answer()) as up, ForwardProxy(up.port) as proxy:
            network = Network(https_proxy=proxy.url, ca_file=AUTHORITY)
            assert b"Hello" in await fetch(network, f"https://localhost:{up.port}/v1/x", times=2)
            assert len(proxy.heads) == 1
            assert proxy.heads[0].startswith(b"CONNECT localhost:%d HTTP/1.1\r\n" % up.port)
            assert b"Basic " + base64.b64encode(b"us@er:pass") in proxy.heads[0]
            assert "proxy-authorization" not in up.seen[0].headers

    asyncio.run(main())


def test_plain_http_goes_to_the_proxy_by_its_whole_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_module, "is_loopback", lambda host: False)

    async def main() -> None:
        async with Upstream(answer()) as up, ForwardProxy(up.port) as proxy:
            assert b"Hello" in await fetch(Network(http_proxy=proxy.url), f"http://vendor.test:{up.port}/v1/x")
            assert proxy.heads[0].startswith(b"POST http://vendor.test:%d/v1/x HTTP/1.1\r\n" % up.port)

    asyncio.run(main())


def test_a_proxy_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_module, "is_loopback", lambda host: False)

    async def main() -> None:
        async with TlsUpstream(answer()) as up, ForwardProxy(up.port, b"407 Proxy Authentication Required") as proxy:
            with pytest.raises(ProviderFailed, match="the proxy refused"):
                await fetch(Network(https_proxy=proxy.url), f"https://localhost:{up.port}/")

    asyncio.run(main())


def test_loopback_is_never_asked_through_a_proxy() -> None:
    async def main() -> None:
        async with Upstream(answer()) as up:
            everywhere = Network(http_proxy="http://127.0.0.1:1", https_proxy="http://127.0.0.1:1")
            assert b"Hello" in await fetch(everywhere, up.base_url)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.0.0.9", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("a.b", False),
    ],
)
def test_loopback_is_known_by_name_and_address(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("rules", "url", "proxied"),
    [
        ("", "https://api.vendor.com/v1", True),
        ("*", "https://api.vendor.com/v1", False),
        ("vendor.com", "https://api.vendor.com/v1", False),
        (".vendor.com", "https://api.vendor.com/v1", False),
        ("vendor.com", "https://api.othervendor.com/v1", True),
        ("a, b,API.VENDOR.COM", "https://api.vendor.com/v1", False),
        ("10.0.0.0/8", "https://10.1.2.3/v1", False),
        ("10.0.0.0/8", "https://11.1.2.3/v1", True),
        ("", "http://api.vendor.com/v1", False),  # no proxy for plain HTTP is set
        ("", "https://[::1]:8080/v1", False),
    ],
)
def test_no_proxy_is_honoured(rules: str, url: str, proxied: bool) -> None:
    network = Network.from_environ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": rules})
    assert (network.proxy_for(urlsplit(url)) == Proxy("proxy", 3128, "")) is proxied


@pytest.mark.parametrize(
    ("environ", "network"),
    [
        ({}, Network()),
        ({"https_proxy": "a", "HTTPS_PROXY": "b"}, Network(https_proxy="a")),
        ({"ALL_PROXY": "a", "HTTP_PROXY": "b"}, Network(http_proxy="b", https_proxy="a")),
        ({"SSL_CERT_FILE": "f", "SSL_CERT_DIR": "d"}, Network(ca_file="f", ca_dir="d")),
    ],
)
def test_the_usual_variables_are_read(environ: Mapping[str, str], network: Network) -> None:
    assert Network.from_environ(environ) == network


@pytest.mark.parametrize("url", ["socks5://a:1", "https://a", "http://", "http://a:port", "http://[::1", "a:99999"])
def test_a_proxy_that_cannot_be_spoken_to_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="HTTPS_PROXY"):
        Proxy.parse(url)


def test_certificates_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
        Network(ca_file=str(tmp_path / "absent.pem")).tls()
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
        Network(ca_file=str(tmp_path / "empty.pem")).tls()


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"HTTPS_PROXY": "socks5://proxy:1080"}, "HTTPS_PROXY (or ALL_PROXY) = 'socks5://proxy:1080'"),
        ({"http_proxy": "http://proxy:x"}, "HTTP_PROXY (or ALL_PROXY) = 'http://proxy:x'"),
        ({"ALL_PROXY": "socks5://us:hun/ter2@proxy"}, "'socks5://proxy'"),
        ({"ALL_PROXY": "socks5://us:hun://ter2@proxy"}, "'socks5://proxy'"),
        ({"ALL_PROXY": "us:hun://ter2@proxy:"}, "proxy:'"),
        ({"SSL_CERT_FILE": "/nonexistent/ca.pem"}, "SSL_CERT_FILE='/nonexistent/ca.pem'"),
        ({"SSL_CERT_DIR": "/nonexistent"}, "SSL_CERT_DIR='/nonexistent'"),
    ],
)
def test_a_wrong_variable_is_found_before_the_first_call(environ: Mapping[str, str], says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Network.from_environ(environ).check()
    assert says in str(refused.value)
    assert "unset" in str(refused.value)
    assert "hun" not in str(refused.value)
    assert "ter2" not in str(refused.value)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"HTTPS_PROXY": "http://us:er@proxy:3128", "HTTP_PROXY": "proxy"},
        {"ALL_PROXY": "socks5://proxy", "NO_PROXY": "*"},
        {"SSL_CERT_FILE": AUTHORITY},
        {"SSL_CERT_DIR": f"/nonexistent:{TLS}"},
    ],
)
def test_what_is_right_or_never_used_is_let_pass(environ: Mapping[str, str]) -> None:
    Network.from_environ(environ).check()
