"""Fixtures of the ledger's tests."""

from tests.ledger.identityworld import stage
from tests.ledger.ledgerworld import place
from tests.ledger.postgres import postgres

__all__ = ["place", "postgres", "stage"]
