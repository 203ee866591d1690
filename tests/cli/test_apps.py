"""The commands' frame."""

import ast
from pathlib import Path

import askonce


def test_nobodys_private_modules_are_imported() -> None:
    """They change with every patch release: typer's vendored click, for one."""
    private = []
    for path in Path(askonce.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            private += [
                f"{path.name}: {name}"
                for name in names
                if name != "__future__" and any(part.startswith("_") for part in name.split("."))
            ]
    assert private == []
