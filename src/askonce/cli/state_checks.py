"""What the doctor asks of the server that nodes share."""

import asyncio
import logging

from askonce.config.settings import Config
from askonce.domain.errors import StoreUnavailable
from askonce.state.valkey.address import parse
from askonce.state.valkey.opening import server_of
from askonce.state.valkey.server import reason
from askonce.state.valkey.server_health import fields, remarks

WAIT_S = 2.0


def state_problem(config: Config) -> tuple[str, str]:
    """Return why shared state cannot be used, or "" and how it is. The address can be read."""
    address = parse(config.state_url)
    logging.getLogger("askonce.state").setLevel(logging.CRITICAL)  # what it would say is in the finding

    async def look() -> tuple[str, str]:
        server = server_of(address, WAIT_S)
        try:
            await server.open()
            told = fields(await server.call("INFO", "server"))
            said = await remarks(server)
        except StoreUnavailable as error:
            return f"{address.shown}: {reason(error)}", ""
        finally:
            await server.close()
        name = "Valkey" if "valkey_version" in told else "Redis"
        version = told.get("valkey_version") or told.get("redis_version", "of an unknown version")
        return "", " ".join((f"{name} {version} at {address.shown} answers", *(f"; {one}" for one in said)))

    return asyncio.run(look())
