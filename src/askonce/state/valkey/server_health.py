"""What is worth knowing of the server that shared state is on: may it throw away what must be kept?"""

from askonce.domain.errors import StoreUnavailable
from askonce.state.valkey.server import Server

_RISKY = "allkeys-"  # policies by which sums and the outbox may be thrown away
CROWDED = 0.9  # of maxmemory


async def remarks(server: Server) -> tuple[str, ...]:
    """Look at its memory. A server that does not tell is no reason to say anything.

    Raises `StoreUnavailable` where it is away altogether.
    """
    if server.shards > 1:
        return ()  # each node of a Cluster has its own
    try:
        told = await server.call("INFO", "memory")
    except StoreUnavailable:
        await server.call("PING")
        return ()
    return tuple(_remarks(fields(told)))


def fields(told: object) -> dict[str, str]:
    """Read what `INFO` tells."""
    if isinstance(told, dict):
        return {str(name): str(value) for name, value in told.items()}
    text = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {name: value for name, _, value in pairs}


def _remarks(fields: dict[str, str]) -> list[str]:
    policy, most = fields.get("maxmemory_policy", ""), int(fields.get("maxmemory") or 0)
    used = int(fields.get("used_memory") or 0)
    said = []
    if policy.startswith(_RISKY):
        said.append(
            f"Valkey/Redis may throw away sums and what the ledger has not got yet (maxmemory-policy {policy}): set it "
            "to volatile-lru."
        )
    if most and used > CROWDED * most:
        said.append(f"Valkey/Redis has used {used / most:.0%} of its maxmemory.")
    return said
