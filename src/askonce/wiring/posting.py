"""Posting to webhooks that jobs named."""

from collections.abc import Sequence

from askonce.domain.errors import AskonceError
from askonce.providers.http import Http, Limits, Request
from askonce.providers.network import Network
from askonce.workflows.webhooks import host_of, is_named

_LIMITS = Limits(connect_s=5.0, first_byte_s=10.0, idle_s=5.0, total_s=15.0)
_TAKEN = range(200, 300)
_MOVED = range(300, 400)


class Poster:
    """Post to hosts that the operator named, wherever they stand; to others only on the public internet.

    To be closed. Build it inside the running loop.
    """

    def __init__(self, network: Network, hosts: Sequence[str]) -> None:
        self._hosts = hosts
        self._named = Http(network)
        self._others = Http(network, public_only=True)

    async def send(self, url: str, body: bytes, headers: tuple[tuple[str, str], ...]) -> str:
        """Post once; return "" or why it was not taken."""
        http = self._named if is_named(host_of(url), self._hosts) else self._others
        try:
            async with http.exchange(Request("POST", url, headers, body, "The webhook"), _LIMITS) as reply:
                if reply.status in _TAKEN:
                    return ""
                redirected = ", and redirects are not followed" if reply.status in _MOVED else ""
                return f"it answered {reply.status}{redirected}"
        except AskonceError as error:
            return error.message

    async def close(self) -> None:
        """Hang up everything."""
        await self._named.close()
        await self._others.close()
