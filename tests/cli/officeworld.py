"""The world of the tests of commands that work on the database: a folder, and `askonce` called in this process."""

import io
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from askonce.cli.main import main

VARIABLES = ("ASKONCE_SECRET", "ASKONCE_CONFIG", "ASKONCE_KEYS", "ASKONCE_URL", "ASKONCE_KEY", "DATABASE_URL")


class Done(NamedTuple):
    """Hold how a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Desk:
    """Call `askonce` with one data folder and one database."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._patch = patch
        self._capture = capture
        for name in VARIABLES:
            patch.delenv(name, raising=False)
        patch.chdir(folder)
        patch.setenv("ASKONCE_DATA_DIR", str(self.data))

    def set(self, name: str, value: str) -> None:
        self._patch.setenv(name, value)

    def __call__(self, *arguments: str, stdin: str = "") -> Done:
        """Run a command, whatever comes of it."""
        self._patch.setattr(sys, "argv", ["askonce", *arguments])
        self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        self._capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self._capture.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    def well(self, *arguments: str, stdin: str = "") -> Done:
        """Run a command that must end well."""
        done = self(*arguments, stdin=stdin)
        assert done.code == 0, done
        return done
