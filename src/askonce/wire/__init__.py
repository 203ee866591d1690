"""Shapes: bytes to domain values and back, both ways, a file per shape. No I/O."""
