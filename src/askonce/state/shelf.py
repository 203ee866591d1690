"""A dict in the shape of a store, for what lives in one process's memory."""


class Shelf(dict[bytes, bytes]):
    """Give a dict the shape of a store."""

    def put(self, key: bytes, value: bytes) -> None:
        """Write the value."""
        self[key] = value

    def delete(self, key: bytes) -> None:
        """Delete the value, if there is one."""
        self.pop(key, None)
