"""A folder in which each process of a node leaves what it has counted, for whoever is scraped.

Files are replaced whole and not synced: what a machine that fails forgets is a second's counting. A disk that takes no
file, or a file that cannot be read, costs its numbers and nothing else.
"""

import contextlib
import os
import time
from pathlib import Path

from askonce.telemetry.meters import Merged, Meters, Snapshot, merge, pack, unpack

SUFFIX = ".meters"
STALE_NS = 10_000_000_000  # a process that has not written for so long does not live
PROCESSES_MAX = 1024  # no node has more; a folder that holds more holds something else


class Shelf:
    """Write and read snapshots."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def resume(self, meters: Meters) -> None:
        """Let a process go on where its predecessor stopped."""
        former = self._read(self._folder / f"{meters.process}{SUFFIX}")
        if former is not None:
            meters.resume(former)

    def put(self, meters: Meters) -> None:
        """Leave what a process has counted."""
        path = self._folder / f"{meters.process}{SUFFIX}"
        draft = path.with_suffix(f".{os.getpid()}.draft")
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(pack(meters.snapshot(time.monotonic_ns())))
            draft.replace(path)

    def merged(self, own: Meters) -> Merged:
        """Add up all processes: ours as it is now, the others as they last wrote."""
        now_ns = time.monotonic_ns()
        snapshots = [own.snapshot(now_ns), *self._others(own.process)]
        living = [one.process for one in snapshots if 0 <= now_ns - one.at_ns < STALE_NS]
        return merge(snapshots, living)

    def _others(self, own: str) -> list[Snapshot]:
        try:
            paths = sorted(self._folder.glob(f"*{SUFFIX}"))[:PROCESSES_MAX]
        except OSError:
            return []
        read = [self._read(path) for path in paths if path.name != f"{own}{SUFFIX}"]
        return [snapshot for snapshot in read if snapshot is not None]

    def _read(self, path: Path) -> Snapshot | None:
        try:
            return unpack(path.read_bytes())
        except OSError:
            return None
