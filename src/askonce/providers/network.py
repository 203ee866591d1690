"""The way out of the house: whose certificates are trusted, and which proxy stands between.

Loopback is never reached through a proxy: what listens there is ours, and a proxy elsewhere would reach its own.
"""

import asyncio
import base64
import ipaddress
import os
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from msgspec import Struct

from askonce.domain.errors import ConfigError

# Where distributions keep their bundle, for interpreters whose OpenSSL was built with other paths.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Gentoo
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, macOS
)


class Network(Struct, frozen=True):
    """Hold the outward settings. Proxies are URLs; `no_proxy` lists names, suffixes and CIDRs, `*` for all.

    `ca_file` and `ca_dir` replace the system's certificates, as OpenSSL's SSL_CERT_FILE and SSL_CERT_DIR do.
    """

    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: tuple[str, ...] = ()
    ca_file: str = ""
    ca_dir: str = ""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Network":
        """Read the usual variables; the lower-case spelling of a proxy variable wins, as in curl."""

        def read(name: str) -> str:
            return environ.get(name.lower()) or environ.get(name.upper()) or ""

        everything = read("all_proxy")
        return cls(
            # HTTP_PROXY in capitals can be set by a request header under CGI (CVE-2016-5385); we are never a CGI.
            http_proxy=read("http_proxy") or everything,
            https_proxy=read("https_proxy") or everything,
            no_proxy=tuple(part for part in read("no_proxy").replace(",", " ").split() if part),
            ca_file=environ.get("SSL_CERT_FILE", ""),
            ca_dir=environ.get("SSL_CERT_DIR", ""),
        )

    def check(self) -> None:
        """Try everything out once, so that a wrong variable stops the start and not each call. Raises `ConfigError`."""
        if "*" not in self.no_proxy:
            for variable, url in (("HTTPS_PROXY", self.https_proxy), ("HTTP_PROXY", self.http_proxy)):
                if url:
                    Proxy.parse(url, variable)
        self.tls()

    def tls(self) -> ssl.SSLContext:
        """Build the context for all TLS connections. Raises `ConfigError` for certificates that cannot be read."""
        # OpenSSL passes over folders that are not there in silence; the variable may list several.
        if self.ca_dir and not any(Path(folder).is_dir() for folder in self.ca_dir.split(os.pathsep)):
            raise ConfigError(f"SSL_CERT_DIR={self.ca_dir!r} is no directory: correct or unset it.")
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None, capath=self.ca_dir or None)
        except OSError as error:  # ssl.SSLError is one too
            raise ConfigError(
                f"SSL_CERT_FILE={self.ca_file!r}, SSL_CERT_DIR={self.ca_dir!r}: the certificates cannot be read "
                f"({error}). Name a PEM file or a directory that OpenSSL understands, or unset them."
            ) from None
        if not (self.ca_file or self.ca_dir or context.cert_store_stats()["x509_ca"]):
            bundle = next((path for path in _BUNDLES if Path(path).is_file()), None)
            if bundle is not None:
                context.load_verify_locations(cafile=bundle)
        context.set_alpn_protocols(["http/1.1"])
        return context

    def proxy_for(self, target: SplitResult) -> "Proxy | None":
        """Choose the proxy for a URL, or none."""
        url = self.https_proxy if target.scheme == "https" else self.http_proxy
        host = (target.hostname or "").lower()
        if not url or is_loopback(host) or any(_exempts(rule, host) for rule in self.no_proxy):
            return None
        return Proxy.parse(url)


class Proxy(Struct, frozen=True):
    """Hold an HTTP proxy's address and the header value that opens it ("" without credentials)."""

    host: str
    port: int
    authorization: str

    @classmethod
    def parse(cls, url: str, variable: str = "HTTPS_PROXY or HTTP_PROXY") -> "Proxy":
        """Read a proxy's URL. Raises `ConfigError` for anything but `http://[user:password@]host[:port]`."""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname if parts.scheme == "http" else "", parts.port or 80
        except ValueError:  # a bracket or a port that makes no sense
            host = ""
        if not host:
            raise ConfigError(
                f"{variable} (or ALL_PROXY) = {_without_password(url)!r}: only proxies spoken to as http://host:port "
                "are supported; correct or unset it, or set NO_PROXY=* to use none."
            )
        authorization = ""
        if parts.username:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = "Basic " + base64.b64encode(pair.encode()).decode()
        return cls(host, port, authorization)


def _without_password(url: str) -> str:
    scheme, mark, _ = url.partition("://")
    return (scheme + mark if mark and scheme.isalnum() else "") + url.removeprefix(scheme + mark).rpartition("@")[2]


class Inward(Exception):
    """Report that a name leads to an address of no public network."""


async def public_address(host: str, port: int) -> str:
    """Return an address of a host. Raises `Inward` unless all that it has are public, `OSError` where it has none.

    Whoever connects takes this address: a second look at the name could find another one.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(address[0]).partition("%")[0] for *_, address in found]
    if not all(is_public(address) for address in addresses):
        raise Inward
    return addresses[0]


def is_public(address: str) -> bool:
    """Say whether an IP address belongs to the public internet, also where it stands for one of version 4."""
    ip = ipaddress.ip_address(address)
    mapped = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
    return ip.is_global and not ip.is_multicast and (mapped is None or mapped.is_global)


def is_loopback(host: str) -> bool:
    """Say whether a host name or address is this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _exempts(rule: str, host: str) -> bool:
    """Match one entry of NO_PROXY: `*`, a CIDR or address, a name or a suffix with or without its leading dot."""
    rule = rule.lower()
    if rule == "*" or host == rule:
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(rule, strict=False)
    except ValueError:
        return host.endswith("." + rule.lstrip(".")) or host == rule.lstrip(".")
