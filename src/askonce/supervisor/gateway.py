"""Run one gateway process: `python -m askonce.supervisor.gateway`, started by the supervisor only."""

import sys

from askonce.supervisor.serving import run
from askonce.wiring.gateway import build

if __name__ == "__main__":
    sys.exit(run(build))
