"""What counts as a path, and which paths are refused.

Finding is generous, vetting is strict: what is found in an answer is only a claim (`str`); `vet` alone makes a path.
A claim needs a reason to be believed, and the reason differs by place. An info string is about its block, so a folder
or any extension will do. A label or a comment is a sentence first, so a bare name needs an extension that we know
(`asyncio.run` is no file) and a folder does not make up for a missing one (`client/server` is none).
"""

import re
import unicodedata

from askonce.wire.fence_languages import KNOWN_NAMES, LANGUAGES, NOT_FILES, extension

# Longer ones do not fit common file systems (NAME_MAX), archives or editors; nobody generates them on purpose.
MAX_PATH_BYTES = 512
MAX_PART_BYTES = 255
MAX_SHOWN_CHARS = 80

# Control, format (directions, zero width), surrogates, line and paragraph ends.
_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
_RESERVED = re.compile(r'[<>|"?*]')
_DRIVE = re.compile(r"[A-Za-z]:")

# A repository's own folder: what is written there runs with the next `git status` (core.fsmonitor, core.hooksPath).
# `git~1` is its short name on file systems that have such.
_REPOSITORY = (".git", "git~1")

_EXTENSION = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,14}")
_ROOTED = re.compile(r"[/\\]|~[/\\\w]|[A-Za-z]:[/\\]|(?:.*[/\\])?\.\.[/\\]")
_DOTFILE = re.compile(r"\.[A-Za-z][\w.-]*")
_KNOWN_DOTFILE = re.compile(
    r"\.(?:(?:env|git|docker|eslint|prettier|babel|clang|coverage|bash|zsh|flake8|htaccess)[\w.-]*|[\w.-]+(?:rc|ignore|-versions?|config|profile))"
)

# What may stand around a path.
_PAIRS = {"`": "`", "*": "*", '"': '"', "'": "'", "(": ")", "[": "]", "<": ">", "“": "”", "‘": "’", "«": "»"}
_LINK = re.compile(r"\[([^\[\]]+)\]\([^()]*\)")


class UnsafePath(ValueError):
    """Refuse a path; the message is a sentence for `metadata.warnings`."""


def vet(claim: str) -> str:
    """Return the relative path with `/` between its parts. Raises UnsafePath.

    `./` and doubled separators are dropped. Judged twice, as written and in compatibility form (NFKC), so that no
    look-alike of a dot or a slash becomes one later.
    """
    if len(claim) > MAX_PATH_BYTES:
        problem = f"is longer than {MAX_PATH_BYTES} bytes"
    else:
        problem = _problem(claim)
        if not problem and not claim.isascii():
            problem = _problem(unicodedata.normalize("NFKC", claim))
    if problem:
        raise UnsafePath(f"Refused the path {_shown(claim)}: it {problem}. Its block is not among the files.")
    return "/".join(_parts(claim))


def reaches_git(part: str) -> bool:
    """Say whether a part of a path is a repository's own folder on any file system: case and trailing dots aside."""
    return part.rstrip(" .").lower() in _REPOSITORY


def _parts(path: str) -> list[str]:
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]


def _problem(claim: str) -> str:
    """Say what is wrong with a path, or ""."""
    plainly_visible = claim.isascii() and claim.isprintable()
    if not plainly_visible and any(unicodedata.category(char) in _INVISIBLE for char in claim):
        return "holds control characters"
    path, parts = claim.replace("\\", "/").strip(), _parts(claim)
    for bad, problem in (
        (not path, "is empty"),
        (path.startswith("/"), "is absolute"),
        (_DRIVE.match(path), "has a drive letter"),
        (path.startswith("~"), "begins at a home folder"),
        # Some systems drop trailing dots and spaces from a name: ".. " is ".." there.
        (any(not part.strip(" .") for part in parts), "climbs with '..'"),
        (any(reaches_git(part) for part in parts), "reaches into a Git repository"),
        (not parts or path.endswith(("/", "/.")), "names a folder"),
        (":" in path, "holds a colon"),
        (_RESERVED.search(path), "holds a wildcard or a quote"),
        (len(path.encode()) > MAX_PATH_BYTES, f"is longer than {MAX_PATH_BYTES} bytes"),
        (any(len(part.encode()) > MAX_PART_BYTES for part in parts), f"has a part over {MAX_PART_BYTES} bytes"),
    ):
        if bad:
            return problem
    return ""


def _shown(claim: str) -> str:
    """Quote a claim for people: printable ASCII and bounded."""
    return ascii(claim if len(claim) <= MAX_SHOWN_CHARS else claim[:MAX_SHOWN_CHARS] + "...")


def is_path(token: str, *, among_words: bool) -> bool:
    """Say whether a token reads as a path, safe or not.

    `among_words`: it stands where words stand, so it is believed only by a known name or extension, or where it would
    be refused anyway, so that the refusal is told.
    """
    if "://" in token or token.lower() in NOT_FILES or _RESERVED.search(token):
        return False
    folder, slash, name = token.replace("\\", "/").rpartition("/")
    if not name:
        return bool(folder) and not among_words
    if _ROOTED.match(token) or name in KNOWN_NAMES:
        return True
    if _DOTFILE.fullmatch(name):
        return bool(slash) or not among_words or bool(_KNOWN_DOTFILE.fullmatch(name)) or extension(name) in LANGUAGES
    ending = extension(name)
    if not _EXTENSION.fullmatch(ending):
        return bool(slash) and not among_words
    return bool(slash) or not among_words or ending in LANGUAGES


def unwrapped(token: str) -> str:
    """Take quotes, brackets and emphasis off both ends, and the target off a link."""
    link = _LINK.fullmatch(token)
    token = link[1] if link else token
    while len(token) > 2 and _PAIRS.get(token[0]) == token[-1]:
        token = token[1:-1]
    if len(token) > 2 and token[0] == token[-1] == "_" and not token.startswith("__"):
        token = token[1:-1]
    return token
