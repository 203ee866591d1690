"""How risky a change is: a rough measure that anybody can check, in points from 0 to 100.

    size         1 per 50 lines that were added or removed                                  at most 20
    rewrites     5 per file of whose old lines more than half are gone                      at most 20
    places       10 per file where mistakes are dear: sign-in, money, secrets, migrations,
                 builds, deployment, dependencies                                           at most 30
    constructs   10 per kind of dangerous construct in the files: shells, `eval`, SQL made
                 of strings, switched-off certificate checks, keys in the text, …           at most 30
    broken       15 per file that is not right in its language                              at most 30

below 20: low; below 50: medium; else high. What is said is where to look first, not that something is wrong.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from askonce.wire.fences import File
from askonce.workflows.review.diffs import Change

LINES_PER_POINT = 50
MOST = 100
MEDIUM, HIGH = 20, 50
MAX_NAMED = 5
MAX_SEARCHED_CHARS = 1_000_000  # of a file; patterns below take linear time

_DEAR = re.compile(
    r"(^|[/_.-])(auth\w*|login|session\w*|password\w*|secret\w*|credential\w*|crypto\w*|security|permission\w*|"
    r"payment\w*|billing|checkout|migration\w*|\.github|\.gitlab-ci|deploy\w*|k8s|terraform|\.env)([/_.-]|$)"
    r"|(^|/)(Dockerfile|docker-compose[^/]*|Makefile|package\.json|pyproject\.toml|requirements[^/]*\.txt|go\.mod|"
    r"Cargo\.toml|pom\.xml|Gemfile|composer\.json|[^/]*\.(tf|csproj|gradle))$",
    re.IGNORECASE,
)
_CONSTRUCTS = {
    "runs a shell": r"shell\s*=\s*True|os\.system\(|child_process|\bRuntime\.getRuntime\(\)\.exec|shell_exec\(",
    "evaluates text as code": r"\beval\(|\bexec\(|new Function\(",
    "makes SQL of strings": r"""(?i:["'`](?:select|insert|update|delete)\b[^"'`\n]{0,200}"""
    r"""(?:["'`]\s*(?:\+|%|\.)|\$\{|\{\w+\}))""",
    "checks no certificates": r"verify\s*=\s*False|rejectUnauthorized:\s*false|InsecureSkipVerify:\s*true",
    "holds what looks like a key": r"\bsk-[A-Za-z0-9_-]{20,}|\bAKIA[0-9A-Z]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY",
    "reads objects from bytes": r"\bpickle\.loads?\(|yaml\.load\((?![^)\n]{0,200}Safe)|\bunserialize\(",
    "writes HTML as it came": r"\.innerHTML\s*=|dangerouslySetInnerHTML|\|\s*safe\s*\}\}|v-html",
    "deletes without asking": r"rm -rf? [/~$]|shutil\.rmtree\(|DROP (?:TABLE|DATABASE)",
    "runs what it downloads": r"(?:curl|wget)[^\n|]{0,200}\|\s*(?:sudo )?(?:ba|z)?sh\b",
}
_COMPILED = {name: re.compile(pattern) for name, pattern in _CONSTRUCTS.items()}


class Risk(Struct, frozen=True):
    """Hold the measure: see the head of this file. `reasons` are sentences."""

    level: Literal["low", "medium", "high"]
    points: int
    reasons: tuple[str, ...]


def risk_of(changes: Sequence[Change], files: Iterable[File], broken: Sequence[str] = ()) -> Risk:
    """Measure changes. `files` as they stand now; `broken` are the paths of those that do not parse."""
    lines = sum(change.added + change.removed for change in changes)
    rewritten = sorted({change.path for change in changes if _is_rewritten(change)})
    dear = sorted({change.path for change in changes if _DEAR.search(change.path)})
    constructs = _found(files)
    parts = (
        (min(20, lines // LINES_PER_POINT), f"{lines} lines were added or removed."),
        (min(20, 5 * len(rewritten)), f"Rewritten for the most part: {_named(rewritten)}."),
        (min(30, 10 * len(dear)), f"Mistakes are dear in {_named(dear)}."),
        (min(30, 10 * len(constructs)), f"To be looked at: {'; '.join(constructs)}."),
        (min(30, 15 * len(broken)), f"Not right in their languages: {_named(sorted(broken))}."),
    )
    points = min(MOST, sum(weight for weight, _ in parts))
    level: Literal["low", "medium", "high"] = "low" if points < MEDIUM else "medium" if points < HIGH else "high"
    return Risk(level, points, tuple(reason for weight, reason in parts if weight))


def _is_rewritten(change: Change) -> bool:
    return change.kind == "changed" and 2 * change.removed > change.before


def _found(files: Iterable[File]) -> list[str]:
    where: dict[str, list[str]] = {}
    for file in files:
        for name, pattern in _COMPILED.items():
            if pattern.search(file.content[:MAX_SEARCHED_CHARS]):
                where.setdefault(name, []).append(file.path)
    return [f"{_named(sorted(paths))} {name}" for name, paths in sorted(where.items())]


def _named(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - MAX_NAMED} more" if len(paths) > MAX_NAMED else ""
    return ", ".join(paths[:MAX_NAMED]) + more
