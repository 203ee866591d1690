"""Who asks: addresses, hosts, origins, keys and sessions, and every trick to be taken for somebody else."""

import pytest

from askonce.domain.caller import ANONYMOUS_TENANT, Caller
from askonce.domain.errors import Forbidden, Unauthorized
from askonce.domain.ports import Verdict, Window
from askonce.gate import admission as admission_module
from askonce.gate.admission import Admission, Approach, OverLimit

LOCAL = Admission((), (), open_to_all=False)
OPEN = Admission((), (), open_to_all=True)
KEYED = Admission([("s3cret", "acme"), ("other", "beta")], (), open_to_all=False)
PROXIED = Admission((), ("10.0.0.0/8", "fd00::/8", "127.0.0.1/32"), open_to_all=True)


def name_of(admission: Admission, peer: str, forwarded_for: str | None = None) -> str:
    return admission.address(Approach(peer, forwarded_for=forwarded_for)).identity.removeprefix("addr:")


@pytest.mark.parametrize(
    ("peer", "window"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("::FFFF:cb00:7109", "203.0.113.9"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:0DB8:0001:0002:0:0:0:1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("", "unknown"),
        ("garbage", "unknown"),
        ("1.2.3", "unknown"),
        ("01.2.3.4", "unknown"),
        ("1.2.3.4\x00", "unknown"),
        ("é", "unknown"),
        ("9" * 10_000, "unknown"),
    ],
)
def test_an_address_has_one_window_however_it_is_written(peer: str, window: str) -> None:
    assert name_of(OPEN, peer) == window
    assert name_of(OPEN, peer) == window  # remembered


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("203.0.113.9", "198.51.100.7", "203.0.113.9"),  # not one of our proxies: what it says does not count
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", " 198.51.100.7 ", "198.51.100.7"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.7", "198.51.100.7"),  # the client's own claim is left of what our proxy saw
        ("10.0.0.1", "1.1.1.1, 10.0.0.2", "1.1.1.1"),  # two of our proxies in a row
        ("10.0.0.1", "1.1.1.1, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "garbage", "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1, garbage", "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1, garbage, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "1.1.1.1,", "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1, " + "x" * 10_000, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::/64"),
        ("10.0.0.1", "[2001:db8::1]", "2001:db8::/64"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::/64"),
        ("10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "_hidden", "10.0.0.1"),
        ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("fd00::1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.2", "198.51.100.7", "127.0.0.2"),
    ],
)
def test_forwarded_addresses_count_hop_by_hop_and_only_from_our_own_proxies(
    peer: str, forwarded_for: str | None, client: str
) -> None:
    assert name_of(PROXIED, peer, forwarded_for) == client


def test_without_configured_proxies_nothing_that_is_forwarded_counts() -> None:
    assert name_of(OPEN, "10.0.0.1", "198.51.100.7") == "10.0.0.1"


@pytest.mark.parametrize(
    "host",
    [
        None,
        "localhost",
        "localhost:3001",
        "LOCALHOST",
        "LocalHost.:3001",
        "127.0.0.1",
        "127.0.0.1:3001",
        "127.0.0.1:",
        "127.8.9.10:80",
        "[::1]",
        "[::1]:3001",
        "[0:0:0:0:0:0:0:1]:3001",
        "[::ffff:127.0.0.1]:3001",
    ],
)
def test_this_machine_may_be_called_by_its_names(host: str | None) -> None:
    assert LOCAL.identify(Approach("127.0.0.1", host)).tenant == ANONYMOUS_TENANT


FOREIGN_HOSTS = [
    "",
    " ",
    "evil.com",
    "evil.com:3001",
    "127.0.0.1.evil.com",
    "localhost.evil.com",
    "evil.localhost.com:3001",
    "notlocalhost",
    "0x7f.1",
    "0x7f000001",
    "127.1",
    "2130706433",
    "0.0.0.0",
    "0.0.0.0:3001",
    "[::]",
    "192.168.1.5:3001",
    "[2001:db8::1]:3001",
    "localhost@evil.com",
    "localhost:3001@evil.com",
    "evil.com@localhost",
    "user:pass@localhost:3001",
    "[::1].evil.com",
    "[::1]evil.com:3001",
    "[::1",
    "::1",
    "localhost:evil",
    "localhost:3001:3002",
    "localhost:３００１",
    "localhost\n",
    "localhost evil.com",
    "localhost,evil.com",
    "localhost/evil.com",
    "http://localhost",
    "ｌocalhost",
    "localhost" + " " * 100,
    "l" * 5000,
]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_foreign_host_is_refused_without_keys(host: str) -> None:
    for _ in range(2):
        with pytest.raises(Forbidden) as caught:
            LOCAL.identify(Approach("127.0.0.1", host))
        assert len(caught.value.message) < 400


def test_a_host_is_free_where_keys_protect_or_the_owner_said_open() -> None:
    assert KEYED.identify(Approach("1.2.3.4", "evil.com", api_key="s3cret")).tenant == "acme"
    assert OPEN.identify(Approach("1.2.3.4", "my.example")).tenant == ANONYMOUS_TENANT


@pytest.mark.parametrize(
    ("origin", "host", "passes"),
    [
        (None, "localhost:3001", True),
        ("http://localhost:3001", "localhost:3001", True),
        ("http://127.0.0.1:3001", "127.0.0.1:3001", True),
        ("http://[::1]:3001", "[::1]:3001", True),
        ("http://localhost:3001", "LOCALHOST:3001", True),
        ("http://localhost:5173", "localhost:3001", False),
        ("http://localhost", "localhost:3001", False),
        ("http://127.0.0.1:3001", "localhost:3001", False),
        ("http://evil.com", "localhost:3001", False),
        ("http://localhost:3001.evil.com", "localhost:3001", False),
        ("http://evil.com://localhost:3001", "localhost:3001", False),
        ("localhost:3001", "localhost:3001", False),
        ("null", "localhost:3001", False),
        ("", "localhost:3001", False),
        ("null", None, False),
        ("http://evil.com", None, False),
        ("", None, False),
    ],
)
def test_a_page_of_another_origin_is_refused_without_keys(origin: str | None, host: str | None, passes: bool) -> None:
    for admission in (LOCAL, OPEN):
        approach = Approach("127.0.0.1", host, origin)
        if passes:
            assert admission.identify(approach).tenant == ANONYMOUS_TENANT
        else:
            with pytest.raises(Forbidden):
                admission.identify(approach)


def test_an_empty_host_vouches_for_no_origin() -> None:
    with pytest.raises(Forbidden):
        OPEN.identify(Approach("127.0.0.1", "", "null"))


@pytest.mark.parametrize(
    ("peer", "served"),
    [
        ("127.0.0.1", True),
        ("127.200.1.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.168.1.5", False),
        ("203.0.113.9", False),
        ("0.0.0.0", False),
        ("::", False),
        ("2001:db8::1", False),
        ("::ffff:203.0.113.9", False),
        ("128.0.0.1", False),
        ("", False),
    ],
)
def test_without_keys_only_this_machine_is_served(peer: str, served: bool) -> None:
    approach = Approach(peer, "localhost:3001")
    if served:
        assert LOCAL.identify(approach).identity.startswith("addr:")
    else:
        with pytest.raises(Forbidden):
            LOCAL.identify(approach)


def test_a_client_behind_our_own_proxy_is_not_this_machine() -> None:
    admission = Admission((), ("127.0.0.1/32",), open_to_all=False)
    with pytest.raises(Forbidden):
        admission.identify(Approach("127.0.0.1", "localhost:3001", forwarded_for="203.0.113.9"))


@pytest.mark.parametrize(
    ("authorization", "api_key", "tenant"),
    [
        ("Bearer s3cret", None, "acme"),
        ("bearer s3cret", None, "acme"),
        ("BEARER  s3cret ", None, "acme"),
        (None, "s3cret", "acme"),
        (None, "other", "beta"),
        ("Bearer other", "s3cret", None),  # which of them asks?
        ("Bearer other", "wrong", None),
        ("Bearer other", "other", "beta"),
        ("Bearer S3CRET", None, None),
        ("Bearer s3cre", None, None),
        ("Bearer s3cret2", None, None),
        ("Bearer s3cret,other", None, None),
        ("Bearer", None, None),
        ("Bearer ", None, None),
        ("", None, None),
        ("", "s3cret", None),
        ("s3cret", None, None),
        ("Basic czNjcmV0", None, None),
        ("Basic s3cret", None, None),
        ("Basic s3cret", "s3cret", None),
        ("Bearer wrong", "s3cret", None),
        (None, "", None),
        (None, " s3cret", None),
        (None, "wrong", None),
        (None, "\xff\xfe", None),
        (None, None, None),
    ],
)
def test_a_key_is_known_or_refused(authorization: str | None, api_key: str | None, tenant: str | None) -> None:
    approach = Approach("127.0.0.1", "localhost", authorization=authorization, api_key=api_key)
    if tenant is None:
        with pytest.raises(Unauthorized):
            KEYED.identify(approach)
    else:
        assert KEYED.identify(approach).tenant == tenant


@pytest.mark.parametrize(
    "approach",
    [
        Approach("127.0.0.1", "localhost", authorization="Bearer s3cret"),
        Approach("127.0.0.1", "localhost", authorization=""),
        Approach("127.0.0.1", "localhost", api_key=""),
        Approach("127.0.0.1", "localhost", session="made-up"),
    ],
)
def test_a_key_or_session_that_is_sent_but_unknown_is_never_a_new_identity(approach: Approach) -> None:
    with pytest.raises(Unauthorized):
        LOCAL.identify(approach)
    with pytest.raises(Unauthorized):
        OPEN.identify(approach)


@pytest.mark.parametrize("admission", [LOCAL, OPEN])
@pytest.mark.parametrize(
    "approach",
    [
        Approach("127.0.0.1", "localhost", authorization="Bearer askonce"),
        Approach("127.0.0.1", "localhost", api_key="askonce"),
        Approach("127.0.0.1", "localhost", authorization="Bearer askonce", api_key="askonce"),
    ],
)
def test_clients_that_insist_on_a_key_have_a_word_for_none(admission: Admission, approach: Approach) -> None:
    assert admission.identify(approach) == admission.identify(Approach("127.0.0.1", "localhost"))


def test_the_word_for_no_key_is_none_where_there_are_keys_and_opens_nothing_else() -> None:
    with pytest.raises(Unauthorized):
        KEYED.identify(Approach("127.0.0.1", "localhost", api_key="askonce"))
    with pytest.raises(Unauthorized, match="send 'askonce' where a client insists"):
        LOCAL.identify(Approach("127.0.0.1", "localhost", authorization="Bearer askonce", api_key="other"))
    with pytest.raises(Forbidden):
        LOCAL.identify(Approach("203.0.113.9", "localhost", api_key="askonce"))
    with pytest.raises(Forbidden):
        LOCAL.identify(Approach("127.0.0.1", "localhost", origin="https://evil.example", api_key="askonce"))


def test_a_keys_window_is_its_own_wherever_it_is_used_from_and_does_not_tell_the_key() -> None:
    one = KEYED.identify(Approach("1.2.3.4", api_key="s3cret"))
    assert one == KEYED.identify(Approach("5.6.7.8", authorization="Bearer s3cret"))
    assert one != KEYED.identify(Approach("1.2.3.4", api_key="other"))
    assert one.identity == f"key:{one.key_id}"
    assert "s3cret" not in repr(one)


def test_two_keys_of_one_tenant_share_answers_but_not_windows() -> None:
    admission = Admission([("a", "acme"), ("b", "acme")], (), open_to_all=False)
    one, other = (admission.identify(Approach("1.2.3.4", api_key=key)) for key in "ab")
    assert one.tenant == other.tenant
    assert one.identity != other.identity


def test_what_is_refused_before_a_key_is_known_counts_by_address() -> None:
    assert KEYED.address(Approach("1.2.3.4", api_key="s3cret")) == Caller("addr:1.2.3.4", ANONYMOUS_TENANT)


def test_a_flood_of_names_and_addresses_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission_module, "REMEMBERED", 8)
    admission = Admission((), ("10.0.0.0/8",), open_to_all=False)
    for n in range(100):
        admission.address(Approach(f"2001:db8:{n:x}::1", forwarded_for=f"fd00::{n:x}, 10.0.{n}.1"))
        admission.address(Approach("10.0.0.1", forwarded_for=f"x{n}" * 1000))
        with pytest.raises(Forbidden):
            admission.identify(Approach("127.0.0.1", f"evil{n}.com"))
        with pytest.raises(Forbidden):
            admission.identify(Approach("127.0.0.1", f"evil{n}.com" * 100))
    memories = (admission._clients, admission._proxies, admission._local_hosts)
    assert all(len(memory) <= 8 for memory in memories)
    assert all(len(name) <= admission_module.NAME_CEILING for memory in memories for name in memory)


@pytest.mark.parametrize(
    ("reset_ns", "retry_after_s"), [(1, 1), (1_000_000_000, 1), (1_000_000_001, 2), (59_999_999_999, 60)]
)
def test_the_wait_is_told_in_whole_seconds_rounded_up(reset_ns: int, retry_after_s: int) -> None:
    error = OverLimit("Wait.", Window("w", 1, 60), Verdict(False, 0, reset_ns))
    assert error.retry_after_s == retry_after_s
