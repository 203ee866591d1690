"""Which addresses a job may name to be told of its end. Deny by default: the operator names the hosts.

A server that posts wherever its callers like is their way into its network, so hosts are compared as they are written,
and nothing is sent in the clear but to this machine. Whoever sends follows no redirect.
"""

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from askonce.domain.errors import Detail, Invalid

ANY = "*"
FIELD = "webhook"


def check_webhook(url: str, hosts: Sequence[str]) -> None:
    """Raise `Invalid` unless a job may name this address."""
    problem = _problem(url, hosts)
    if problem:
        raise Invalid(f"{FIELD} {problem}.", details=[Detail(FIELD, problem)])


def _problem(url: str, hosts: Sequence[str]) -> str:
    if not url.isascii() or any(letter <= " " or letter == "\x7f" for letter in url):
        return "must be an address in ASCII, without blanks"
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return "is no address such as https://hooks.example.org/askonce"
    if parts.scheme not in ("http", "https") or not host:
        return "is no address such as https://hooks.example.org/askonce"
    if parts.username is not None or parts.password is not None or parts.fragment:
        return "must be without a user, a password and a fragment"
    if ANY not in hosts and host not in {each.strip("[]").rstrip(".").lower() for each in hosts}:
        return f"names the host {host[:100]}, which the setting webhook_hosts does not"
    if parts.scheme == "http" and not _is_this_machine(host):
        return "must begin with https: only this machine is told without encryption"
    return ""


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
