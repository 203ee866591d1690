"""How a command ends when it does not end well."""

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_REFUSED = 4


class CommandFailed(Exception):
    """End the command with a sentence for people and its exit code."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Misused(CommandFailed):
    """End it because it was called wrongly."""

    exit_code = EXIT_USAGE


class Unreachable(CommandFailed):
    """End it because no server answers."""

    exit_code = EXIT_UNREACHABLE


class Refused(CommandFailed):
    """End it because the server said no."""

    exit_code = EXIT_REFUSED
