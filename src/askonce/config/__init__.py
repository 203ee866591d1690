"""Configuration: read once, completed, checked, frozen. Only `wiring`, `supervisor` and `cli` import it."""
