"""Executions in SQL: a file beside the ledger's, or the same PostgreSQL."""
