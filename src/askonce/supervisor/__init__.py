"""The processes: `askonce serve` starts, watches, replaces and stops them."""
