"""What must never be lost: tables, the writer that empties outboxes, reports, keys, the audit.

Works on SQLite and PostgreSQL alike.
"""
