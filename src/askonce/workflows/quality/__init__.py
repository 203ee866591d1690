"""What can be said of files without executing anything: whether they parse, and, of Python, what Ruff finds."""
