"""Providers' keys on their way from the database to the gateways, through shared state and sealed."""

from typing import Protocol

NEVER = 0  # the stamp of keys that never were put, or were lost


class VendorKeys(Protocol):
    """Hand sealed keys over to all processes. All methods raise `StoreUnavailable`."""

    async def stamp(self) -> int:
        """Return a number that is another one whenever `read` may answer differently; `NEVER` before the first."""
        ...

    async def read(self) -> tuple[int, bytes]:
        """Return the stamp, and what was put last."""
        ...

    async def put(self, sealed: bytes) -> None:
        """Put keys in the former ones' place."""
        ...
