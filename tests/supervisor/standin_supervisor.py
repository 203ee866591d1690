"""`askonce serve` for the supervisor's tests: settings from the environment, stand-ins as children."""

import os
import sys
from pathlib import Path

from askonce.config.load import load
from askonce.domain.errors import ConfigError
from askonce.supervisor.house import Commands, serve
from askonce.supervisor.screen import Screen
from askonce.telemetry import logs


def main() -> int:
    try:
        config = load({}, os.environ, None).config
        logs.configure(config.log_level, config.log_format)
        gateway = (sys.executable, str(Path(__file__).with_name("standin_gateway.py")))
        local_model = (sys.executable, str(Path(__file__).with_name("standin_model.py")))
        worker = (sys.executable, str(Path(__file__).with_name("standin_worker.py")))
        commands = Commands(gateway, worker, local_model, prices=(sys.executable, "-c", ""))
        return serve(config, Screen(sys.stdout), commands)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
