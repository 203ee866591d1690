"""How the database became what it is: one file per step, applied in order by `ledger/migrate.py`."""
