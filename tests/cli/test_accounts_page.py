"""The manual of accounts: what it tells people to type is there."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from askonce.cli.apps import askonce
from askonce.domain.budget_text import parse_budgets

PAGE = (Path(__file__).parents[2] / "docs" / "accounts.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines()]


@pytest.mark.parametrize("line", LINES)
def test_commands_and_their_options_are_there(line: str) -> None:
    name, command, *words = shlex.split(line.partition(" < ")[0].partition(" > ")[0])
    assert name == "askonce"
    root = typer.main.get_command(askonce)
    found = root.get_command(None, command)  # type: ignore[attr-defined]
    if hasattr(found, "commands"):
        found = found.commands[words.pop(0)]
    known = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known


def test_budgets_are_written_as_they_are_read() -> None:
    written = re.findall(r"--budget '([^']+)'", PAGE)
    assert len(written) >= 5
    parse_budgets(written)
    shown = ["10$/day", "$10/day", "2.5 dollars per hour", "1000 requests/hour", "1.5M tokens/month"]
    assert all(f"`{text}`" in PAGE for text in shown)
    parse_budgets(shown)
