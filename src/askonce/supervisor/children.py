"""Child processes as the supervisor holds them: told by a line on stdin, which stays open, watched, ended, reaped."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import IO

from askonce.config.table import KEY_VARIABLE, SETTINGS
from askonce.providers.catalog import VENDORS
from askonce.supervisor import pulse
from askonce.supervisor.pulse import Beat, Verdict

# A child is not to share the terminal's signals: Ctrl-C is for the supervisor, which then tells its children.
_OWN_GROUP = 0
_PIPE_READ = 65536
_SECRETS = (
    {name for setting in SETTINGS if setting.secret for name in (setting.env, setting.also) if name}
    | {KEY_VARIABLE}
    | {variable for vendor in VENDORS for variable in vendor.key_variables}
)


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Copy an environment without the variables that hold keys: children, and theirs, are told over stdin.

    A proxy's password stays: whoever goes through the proxy reads it from there.
    """
    return {name: value for name, value in environ.items() if name not in _SECRETS}


def python(module: str) -> tuple[str, ...]:
    """Return the command that runs one of our modules with this very interpreter."""
    return (sys.executable, "-m", module)


class Child:
    """Hold one running process and the pipe that keeps it alive. Must be made by the main thread."""

    def __init__(self, command: Sequence[str], line: bytes, pass_fds: Sequence[int] = ()) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            command,
            stdin=subprocess.PIPE,
            pass_fds=tuple(pass_fds),
            process_group=_OWN_GROUP,
            env=without_secrets(os.environ),
        )
        self.born_s = time.monotonic()
        with contextlib.suppress(BrokenPipeError):  # dead already: reaped as such
            self._lifeline.write(line)
            self._lifeline.flush()

    @property
    def pid(self) -> int:
        """Return the process's id."""
        return self._process.pid

    @property
    def _lifeline(self) -> IO[bytes]:
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        return self._process.stdin

    def age_s(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self.born_s

    def exit_code(self) -> int | None:
        """Reap the process if it has ended; negative for a signal, None while it runs."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; does nothing to the dead."""
        self._process.send_signal(number)

    def close(self) -> None:
        """Let go of the pipe."""
        with contextlib.suppress(BrokenPipeError):
            self._lifeline.close()


class Watched(Child):
    """Hold a child that beats into a pipe."""

    def __init__(
        self, command: Sequence[str], line: bytes, pass_fds: Sequence[int], pulse_pipe: tuple[int, int]
    ) -> None:
        reading, writing = pulse_pipe
        try:
            super().__init__(command, line, [*pass_fds, writing])
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        os.set_blocking(reading, False)
        self.pulse_fd = reading
        self.was_ready = False
        self._beat: Beat | None = None
        self._heard_s = self._start_s = self.born_s

    def listen(self, now_s: float) -> None:
        """Read all beats that are there."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.pulse_fd, _PIPE_READ):
                data += chunk
        beat = pulse.last(data)
        if beat is not None:
            self._beat, self._heard_s = beat, now_s
            self.was_ready = self.was_ready or beat.phase == "ready"

    def forgive(self, now_s: float, lost_s: float) -> None:
        """Take nothing amiss of a time in which nobody watched: count silence from now on, and no age for it."""
        self._heard_s = now_s
        self._start_s += lost_s

    def verdict(self, now_s: float) -> Verdict:
        """Judge by what was heard last."""
        return pulse.judge(self._beat, self._start_s, self._heard_s, now_s)

    def close(self) -> None:
        """Let go of both pipes."""
        super().close()
        os.close(self.pulse_fd)
