"""What all processes share, behind the ports of `domain.ports`: in one process's memory, or in LMDB files."""
