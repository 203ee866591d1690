"""The process that parses. It reads all files from stdin, and writes a line for each, in order.

A file that makes a parser spin, grow or crash takes this process with it, and nothing else: whoever started it sees
after which file it fell silent. The limits:

    time     `FILE_CPU_S` of this process for each file (a timer of the system's, so that C code cannot hold it off)
    memory   `MEMORY_BYTES` of address space, where the system keeps to that
"""

import contextlib
import resource
import signal
import sys

import msgspec

from askonce.workflows.quality.parsing import parse
from askonce.workflows.quality.sheets import Sheet

# A megabyte of ordinary code takes 0.2 to 0.8 s on a slow core.
FILE_CPU_S = 2.5
# Grammars and Python take 100 MB of it; a tree some 100 times its file.
MEMORY_BYTES = 1 << 30


def main() -> None:
    """Parse what stdin holds."""
    with contextlib.suppress(ValueError, OSError):  # not every system has these
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sheets = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=tuple[Sheet, ...])
    out = sys.stdout.buffer
    for sheet in sheets:
        signal.setitimer(signal.ITIMER_PROF, FILE_CPU_S)
        out.write(msgspec.json.encode(parse(sheet)) + b"\n")
        out.flush()


if __name__ == "__main__":
    main()
