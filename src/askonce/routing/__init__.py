"""Who should answer: names become ordered candidates. Pure; no I/O, no clock."""
