"""What Askonce would have done with requests of the past: the real fingerprint, cache and limits, simulated time."""
