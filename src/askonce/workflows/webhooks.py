"""Which addresses a job may name to be told of its end. Deny by default: the operator names the hosts.

A server that posts wherever its callers like is their way into its network, so hosts are compared as they are written,
and nothing is sent in the clear but to this machine. Where all hosts are allowed (`*`), those of the public internet
are: whoever sends looks where a name that was not named itself leads, and follows no redirect.
"""

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from askonce.domain.errors import Detail, Invalid

ANY = "*"
FIELD = "webhook"


def check_webhook(url: str, hosts: Sequence[str]) -> None:
    """Raise `Invalid` unless a job may name this address."""
    problem = webhook_problem(url, hosts)
    if problem:
        raise Invalid(f"{FIELD} {problem}.", details=[Detail(FIELD, problem)])


def host_of(url: str) -> str:
    """Return the host of an address, in small letters; "" for what is none."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_named(host: str, hosts: Sequence[str]) -> bool:
    """Say whether the operator named just this host, so that it may stand in a network of his own."""
    return host in {each.strip("[]").rstrip(".").lower() for each in hosts}


def webhook_problem(url: str, hosts: Sequence[str]) -> str:
    """Say why a job may not name this address, as the end of a sentence; "" where it may."""
    if not url.isascii() or any(letter <= " " or letter == "\x7f" for letter in url):
        return "must be an address in ASCII, without blanks"
    try:
        parts = urlsplit(url)
        host, _ = host_of(url), parts.port
    except ValueError:
        return "is no address such as https://hooks.example.org/askonce"
    if parts.scheme not in ("http", "https") or not host:
        return "is no address such as https://hooks.example.org/askonce"
    if parts.username is not None or parts.password is not None or parts.fragment:
        return "must be without a user, a password and a fragment"
    if not is_named(host, hosts):
        if ANY not in hosts:
            return f"names the host {host[:100]}, which the setting webhook_hosts does not"
        if not _may_be_public(host):
            return f"names {host[:100]}, an address of no public network: webhook_hosts has to name it itself"
    if parts.scheme == "http" and not _is_this_machine(host):
        return "must begin with https: only this machine is told without encryption"
    return ""


def _may_be_public(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return True  # a name: where it leads is looked up when something is sent


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
