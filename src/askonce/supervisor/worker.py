"""Run the worker: `python -m askonce.supervisor.worker`, started by the supervisor only."""

import sys

from askonce.supervisor.working import run
from askonce.wiring.worker import Worker

if __name__ == "__main__":
    sys.exit(run(Worker))
