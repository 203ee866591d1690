"""Measure what the README promises, on this machine: `python -m bench`."""
