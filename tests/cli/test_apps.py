"""The commands' frame."""

import ast
from pathlib import Path

import askonce


def test_nobodys_private_modules_are_imported() -> None:
    """They change with every patch release: typer's vendored click, for one.

    Of the engine, which is pinned to a patch release, one file of ours knows the insides (`workflows.engine`).
    """
    private = []
    for path in Path(askonce.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            private += [
                f"{path.name}: {name}"
                for name in names
                if name != "__future__"
                and (path.name, name.partition(".")[0]) != ("innards.py", "dbos")
                and any(part.startswith("_") for part in name.split("."))
            ]
    assert private == []
