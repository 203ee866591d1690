"""Rows of the ledger for tests."""

from typing import Any

from askonce.domain.ledger import CallRow, Ending, Origin


def paid(
    ending: Ending = "answered", counted: bool = True, cost_nano: int = 0, tenant: str = "team", **more: Any
) -> CallRow:
    """Make the row of a call."""
    return CallRow(1, Origin(tenant), "acme", "m1", "m1-2024", ending, counted, False, cost_nano, **more)
