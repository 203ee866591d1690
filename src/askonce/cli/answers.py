"""What commands do with a model's words and files: a model's word is not trusted, neither on a terminal nor on disk."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from askonce.cli.exits import CommandFailed
from askonce.cli.files import Produced, write_files
from askonce.cli.terminal import harmless


def print_words(text: str, end: str = "\n") -> None:
    """Print what a model wrote: as it is into files and pipes, to a terminal without what would steer it."""
    print(harmless(text) if sys.stdout.isatty() else text, end=end, flush=True)


def keep_files(out: Path, answer: dict[str, Any], force: bool) -> None:
    """Write an answer's files into a folder. Raises `CommandFailed`, also where there are none."""
    files = list(_files(answer))
    warnings = [harmless(str(one)) for one in answer.get("metadata", {}).get("warnings") or ()]
    if not files:
        why = " ".join(warnings) or "without --out its code is printed."
        raise CommandFailed(f"The answer holds no files that can be written; {why}")
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for path in write_files(out, files, force):
        print(f"wrote {path}", file=sys.stderr)


def _files(answer: dict[str, Any]) -> Iterator[Produced]:
    for one in answer.get("files", ()):
        yield Produced(str(one["path"]), str(one["content"]))
