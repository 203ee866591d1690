"""Which addresses a job may name: those of the operator's hosts, encrypted; nothing that leads anywhere else."""

import pytest

from askonce.domain.errors import Invalid
from askonce.workflows.webhooks import check_webhook

HOSTS = ("hooks.example.org", "127.0.0.1", "LOCALHOST", "[::1]")


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.org",
        "https://HOOKS.example.org./a?b=c",
        "https://hooks.example.org:8443/",
        "http://127.0.0.1:9000/x",
        "http://localhost/x",
        "http://[::1]:1/",
    ],
)
def test_the_operators_hosts_are_told(url: str) -> None:
    check_webhook(url, HOSTS)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://example.org/", "names the host example.org"),
        ("https://hooks.example.org.evil.example/", "webhook_hosts"),
        ("https://evil.example/hooks.example.org", "webhook_hosts"),
        ("https://hooks.example.org@evil.example/", "without a user"),
        ("https://user:word@hooks.example.org/", "without a user"),
        ("https://hooks.example.org/#a", "fragment"),
        ("http://hooks.example.org/", "must begin with https"),
        ("ftp://hooks.example.org/", "is no address"),
        ("file:///etc/passwd", "is no address"),
        ("https://", "is no address"),
        ("https://hooks.example.org:99999/", "is no address"),
        ("https://[hooks/", "is no address"),
        ("hooks.example.org", "is no address"),
        ("https://hööks.example.org/", "ASCII"),
        ("https://hooks.example.org/a b", "blanks"),
        ("https://hooks.example.org/\r\nHost: x", "blanks"),
        ("", "is no address"),
    ],
)
def test_all_others_are_refused_by_name(url: str, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_webhook(url, HOSTS)
    (detail,) = refused.value.details
    assert detail.field == "webhook"
    assert says in detail.problem


def test_nothing_is_allowed_unless_it_is_named_and_a_star_names_all_hosts() -> None:
    with pytest.raises(Invalid):
        check_webhook("https://hooks.example.org/", ())
    check_webhook("https://hooks.example.org/", ("*",))
    with pytest.raises(Invalid):
        check_webhook("http://hooks.example.org/", ("*",))


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "10.1.2.3", "169.254.169.254", "[::1]"])
def test_a_star_is_the_public_internet_and_no_network_of_ones_own(host: str) -> None:
    with pytest.raises(Invalid, match="public network"):
        check_webhook(f"https://{host}/", ("*", "hooks.example.org"))
    check_webhook(f"https://{host}/", ("*", host))
