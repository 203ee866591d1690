"""Files as nodes leave them: JSON in their rows, the best of them for who wants to see one."""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Raw

from askonce.domain.executions import NodeRun
from askonce.wire.fence_languages import is_commands, is_prose, language_of
from askonce.wire.fences import File

_decoder = msgspec.json.Decoder(tuple[File, ...])


def files_of(run: NodeRun) -> tuple[File, ...]:
    """Return what a node wrote."""
    return _decoder.decode(run.files)


def raw_files(files: Iterable[File]) -> Raw:
    """Write files for a node's row."""
    return Raw(msgspec.json.encode(tuple(files)))


def best_of(files: Sequence[File]) -> str:
    """Return the content of the file that shows most: the first that is neither empty, nor prose, nor only commands."""
    return min(files, key=_rank).content if files else ""


def _rank(file: File) -> int:
    if not file.content.strip():
        return 3
    if is_prose(file.language) or is_prose(language_of(file.path)):
        return 2
    return int(is_commands(file.language, file.content.splitlines()))
