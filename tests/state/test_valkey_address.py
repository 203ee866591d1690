"""What `STATE_URL` may say, and how it is told what it may not."""

import ssl

import pytest

from askonce.domain.errors import ConfigError
from askonce.state.valkey.address import Address, parse, security


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://host", Address("single", (("host", 6379),))),
        ("valkey://host:7/3", Address("single", (("host", 7),), db=3)),
        ("redis://:pw@host/0", Address("single", (("host", 6379),), password="pw")),
        ("rediss://me:p%40w@[::1]:7", Address("single", (("::1", 7),), "me", "p@w", is_tls=True)),
        ("redis+unix:///run/redis.sock?db=2", Address("single", (("/run/redis.sock", 0),), db=2, options={"db": "2"})),
        (
            "redis+sentinel://a,b:26380/main/1",
            Address("sentinel", (("a", 26379), ("b", 26380)), db=1, master="main"),
        ),
        ("valkeys+cluster://a:7000,b:7001", Address("cluster", (("a", 7000), ("b", 7001)), is_tls=True)),
    ],
)
def test_addresses_are_read(url: str, address: Address) -> None:
    assert parse(url) == address


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("localhost:6379", "STATE_URL begins with"),
        ("http://host", "use redis://"),
        ("redis+proxy://host", "not known"),
        ("redis://", "names no host"),
        ("redis://host:x", "port that is not a number"),
        ("redis://host:99999", "from 1 to 65535"),
        ("redis://host/x", "number of a database"),
        ("redis://host/0/1", "too many parts"),
        ("redis://a,b", "several hosts"),
        ("redis+sentinel://a", "names no master"),
        ("redis+cluster://a/1", "one database only"),
        ("redis+unix://relative", "names no socket"),
        ("redis://host?ssl=1", "options that are not known: ssl"),
    ],
)
def test_what_cannot_be_read_is_told_without_the_password(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match="STATE_URL") as refused:
        parse(url.replace("://", "://me:hidden@"))
    assert says in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_what_is_shown_has_no_password() -> None:
    assert parse("redis+sentinel://u:hidden@a,b/main").shown == "a:26379,b:26379 (main)"


def test_tls_is_checked_unless_told_otherwise() -> None:
    assert security(parse("redis://host")) is None
    checked, unchecked = security(parse("rediss://host")), security(parse("rediss://host?tls_verify=off"))
    assert checked is not None
    assert (checked.verify_mode, checked.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert unchecked is not None
    assert unchecked.verify_mode == ssl.CERT_NONE
    with pytest.raises(ConfigError, match="a file of TLS cannot be used"):
        security(parse("rediss://host?tls_ca=/nowhere"))
