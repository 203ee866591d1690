"""Fixtures of the ledger's tests."""

from tests.ledger.identityworld import stage

__all__ = ["stage"]
