"""Put the built dashboard into the wheel, building it first where its sources are there.

An editable install needs none: the server finds the checkout's own build.
"""

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg,misc]
    """Build with `scripts/dashboard`; a build that is there already (an sdist's) is taken as it is."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add `askonce/web/dist`. Raises `CalledProcessError` where it cannot be built."""
        if version == "editable":
            return
        root = Path(self.root)
        built = root / "dashboard" / "dist"
        if not (built / "index.html").is_file():
            subprocess.run([root / "scripts" / "dashboard"], cwd=root, check=True)
        if self.target_name == "wheel":
            build_data["force_include"][str(built)] = "askonce/web/dist"
