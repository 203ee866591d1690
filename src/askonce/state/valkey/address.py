"""Where shared state is: what `STATE_URL` means.

    redis://user:password@host:6379/0              one server (`valkey://` is the same)
    rediss://…                                     the same over TLS (`valkeys://` is the same)
    redis+unix:///run/redis.sock?db=0              one server, by its socket
    redis+sentinel://a:26379,b:26379/mymaster/0    the master that these sentinels name (`rediss+sentinel://`)
    redis+cluster://a:7000,b:7000                  a Cluster (`rediss+cluster://`)

Behind a question mark: `tls_ca` (a file), `tls_cert` and `tls_key` (files), `tls_verify=off`, and for Sentinel
`sentinel_user` and `sentinel_password`.
"""

import ssl
from typing import Literal
from urllib.parse import parse_qsl, unquote

from msgspec import Struct

from askonce.domain.errors import ConfigError

PORTS = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_KNOWN = {"tls_ca", "tls_cert", "tls_key", "tls_verify", "sentinel_user", "sentinel_password", "db"}
_USE = (
    "use redis://user:password@host:6379/0, rediss://…, redis+sentinel://host,host/master or redis+cluster://host,host"
)

Kind = Literal["single", "sentinel", "cluster"]


class Address(Struct, frozen=True):
    """Name a server, or the servers by which to find it. `hosts` of a socket is its path, with port 0."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...]
    user: str = ""
    password: str = ""
    db: int = 0
    master: str = ""
    is_tls: bool = False
    options: dict[str, str] = {}

    @property
    def shown(self) -> str:
        """Return it for people, without what is secret."""
        hosts = ",".join(host if host.startswith("/") else f"{host}:{port}" for host, port in self.hosts)
        more = f" ({self.master})" if self.master else ""
        return f"{hosts}{more}"


def parse(url: str) -> Address:
    """Read an address. Raises `ConfigError`, without the password."""
    scheme, separator, rest = url.partition("://")
    family, _, way = scheme.lower().partition("+")
    if not separator or family not in ("redis", "rediss", "valkey", "valkeys"):
        raise ConfigError(f"STATE_URL begins with {scheme[:20]!r}: {_USE}.")
    if way not in ("", "unix", "sentinel", "cluster"):
        raise ConfigError(f"STATE_URL begins with {scheme[:20]!r}, which is not known: {_USE}.")
    rest, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(set(options) - _KNOWN)
    if unknown:
        raise ConfigError(
            f"STATE_URL has options that are not known: {', '.join(unknown)}. Known: {', '.join(sorted(_KNOWN))}."
        )
    login, at, place = rest.rpartition("@")
    user, _, password = login.partition(":") if at else ("", "", "")
    fields = {"user": unquote(user), "password": unquote(password), "is_tls": family in ("rediss", "valkeys")}
    if way == "unix":
        return Address("single", ((_path(place), 0),), db=_number(options.get("db", "")), options=options, **fields)  # type: ignore[arg-type]
    kind: Kind = "single" if way == "" else "sentinel" if way == "sentinel" else "cluster"
    netloc, *path = place.rstrip("/").split("/")
    hosts = tuple(_host(part, PORTS[kind]) for part in netloc.split(","))
    if kind == "single" and len(hosts) > 1:
        raise ConfigError("STATE_URL names several hosts: say redis+cluster:// or redis+sentinel://.")
    if kind == "sentinel":
        if not path or not path[0]:
            raise ConfigError("STATE_URL names no master for the sentinels: redis+sentinel://host,host/master.")
        fields["master"] = unquote(path.pop(0))
    db = _number(path[0] if path else options.get("db", ""))
    if len(path) > 1:
        raise ConfigError(f"STATE_URL has too many parts: {_USE}.")
    if kind == "cluster" and db:
        raise ConfigError("STATE_URL names a database number, but a Cluster has one database only.")
    return Address(kind, hosts, db=db, options=options, **fields)  # type: ignore[arg-type]


def security(address: Address) -> ssl.SSLContext | None:
    """Make what TLS needs, None without TLS. Raises `ConfigError`."""
    if not address.is_tls:
        return None
    options = address.options
    try:
        context = ssl.create_default_context(cafile=options.get("tls_ca") or None)
        if options.get("tls_cert"):
            context.load_cert_chain(options["tls_cert"], options.get("tls_key") or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"STATE_URL: a file of TLS cannot be used: {error}") from error
    if options.get("tls_verify", "on").lower() in ("off", "no", "false", "0"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _host(part: str, port: int) -> tuple[str, int]:
    """Take `host`, `host:port`, `[::1]` or `[::1]:port` apart."""
    if part.startswith("["):
        host, _, rest = part[1:].partition("]")
        number = rest.removeprefix(":")
    else:
        host, _, number = part.partition(":")
    if not host:
        raise ConfigError(f"STATE_URL names no host: {_USE}.")
    if number and not (number.isascii() and number.isdigit() and 0 < int(number) < 65536):
        raise ConfigError("STATE_URL has a port that is not a number from 1 to 65535.")
    return host, int(number) if number else port


def _path(place: str) -> str:
    if not place.startswith("/"):
        raise ConfigError("STATE_URL names no socket: redis+unix:///path/to/redis.sock.")
    return unquote(place)


def _number(text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) < 6):
        raise ConfigError("STATE_URL ends with what is not the number of a database, such as 0.")
    return int(text or 0)
