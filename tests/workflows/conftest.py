"""Fixtures of the workflows' tests."""

from tests.ledger.ledgerworld import place
from tests.ledger.postgres import postgres

__all__ = ["place", "postgres"]
