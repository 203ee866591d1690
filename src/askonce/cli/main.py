"""The command's entry: turns errors into exit codes.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | failed |
| 2 | wrong usage or configuration |
| 3 | the server, or the database, cannot be reached |
| 4 | the server refused (its message says why), or what was named is not there |
| 130 | interrupted |
"""

import sys
from typing import NoReturn

from askonce import __version__
from askonce.cli.exits import EXIT_USAGE, CommandFailed
from askonce.cli.terminal import harmless
from askonce.domain.errors import ConfigError


def main() -> NoReturn:
    """Run `askonce` with this process's arguments and exit."""
    if sys.argv[1:] == ["--version"]:
        print(__version__)
        sys.exit(0)
    from askonce.cli.apps import askonce  # noqa: PLC0415 - typer takes 0.15 s to import; --version does without

    try:
        askonce()
        sys.exit(0)
    except ConfigError as error:
        _complain(str(error), EXIT_USAGE)
    except CommandFailed as error:
        _complain(error.message, error.exit_code)
    except BrokenPipeError:  # `askonce … | head`: the reader has enough
        sys.stderr.close()
        sys.exit(0)


def _complain(message: str, exit_code: int) -> NoReturn:
    print(f"askonce: {harmless(message)}", file=sys.stderr)  # it may quote a server
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
