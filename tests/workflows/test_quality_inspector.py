"""Files in, report out: by real processes, whatever the files do to them."""

import asyncio
import contextlib
import subprocess
import sys
import time

import msgspec
import pytest

from askonce.wire.fences import File
from askonce.workflows.quality import inspector
from askonce.workflows.quality.inspector import GAVE_UP, MAX_FILE_BYTES, TOO_LONG, UNKNOWN, Inspector
from askonce.workflows.quality.process import ask
from askonce.workflows.quality.report import Report
from askonce.workflows.quality.ruff import FATAL, lint, severity_of

pytestmark = pytest.mark.process

# A megabyte each, of what their parsers do not take well.
BOMBS = {
    "a.py": "[" * 1_000_000,
    "a.js": "{" * 1_000_000,
    "a.cpp": "a<" * 500_000,
}


def inspect(*files: File) -> Report:
    return asyncio.run(Inspector().inspect(files))


def python(content: str) -> list[tuple[int, str, str]]:
    return [(finding.line, finding.rule, finding.severity) for finding in inspect(File("a.py", "", content)).findings]


def test_a_report_says_how_each_file_is_and_goes_through_json():
    report = inspect(
        File("z.go", "", "package main\nfunc main() {\n"),
        File("a.py", "", "import os\nx = undefined\n"),
        File("m.js", "", "let x = 1;\n"),
        File("notes.xyz", "", "?"),
        File("empty.css", "", ""),
        File("p/__init__.py", "", ""),
    )
    assert [(file.path, file.state, file.by) for file in report.files] == [
        ("a.py", "parsed", "ruff"),
        ("empty.css", "parsed", "tree-sitter"),
        ("m.js", "parsed", "tree-sitter"),
        ("notes.xyz", "unchecked", ""),
        ("p/__init__.py", "parsed", "ruff"),
        ("z.go", "broken", "tree-sitter"),
    ]
    assert [(finding.path, finding.line, finding.rule) for finding in report.findings] == [
        ("a.py", 1, "F401"),
        ("a.py", 2, "F821"),
        ("empty.css", 1, "empty"),
        ("z.go", 2, "unmatched"),
    ]
    assert report.broken == ("z.go",)
    assert report.score == 49
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_whoever_inspects_loads_no_parser():
    code = "import sys, askonce.workflows.trades; print({'tree_sitter', 'yaml'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_nothing_is_nothing():
    assert inspect() == Report(-1, (), ())


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("def f():\n    return undefined\n", [(2, "F821", "error")]),
        ("def f(a=[]):\n    return a\n", [(1, "B006", "warning")]),
        ("import os\n", [(1, "F401", "note")]),
        ("'%s %s' % (1,)\n", [(1, "B018", "warning"), (1, "F507", "error")]),
        ("import subprocess\n\nsubprocess.run('x', shell=True)  # noqa\n", [(3, "S602", "warning")]),
        ("eval(input())\n", [(1, "S307", "warning")]),
        ("password = 'x'\nassert password\n", []),
        ("if True:\n    x = 1 +\n", [(2, "invalid-syntax", "error")]),
        ("x = t'{1}'\n", []),
    ],
)
def test_ruff_finds_defects_and_no_taste(content, found):
    assert python(content) == found


@pytest.mark.parametrize(
    "content", ["return 1\n", "break\n", "x = 1\ndef f():\n    x = 2\n    global x\n", "*a, *b = c\n"]
)
def test_what_python_does_not_compile_is_broken(content):
    with contextlib.suppress(SyntaxError):
        compile(content, "a.py", "exec")
        pytest.fail("Python compiles it")
    assert inspect(File("a.py", "", content)).broken == ("a.py",)


def test_severities_follow_the_longest_beginning():
    rules = ("F821", "F401", "F841", "PLE1142", "B006", "S602", "invalid-syntax", "E902")
    assert [severity_of(rule) for rule in rules] == "error note note error warning warning error error".split()
    assert all(severity_of(rule) == "error" for rule in FATAL)


def test_a_file_that_is_too_long_or_unknown_is_unchecked():
    report = inspect(File("a.py", "", "x = 1\n" * (MAX_FILE_BYTES // 6 + 1)), File("LICENSE", "", "MIT"))
    assert [(file.state, file.reason) for file in report.files] == [("unchecked", UNKNOWN), ("unchecked", TOO_LONG)]
    assert report.score == -1


@pytest.mark.parametrize("path", sorted(BOMBS))
def test_a_bomb_ends_its_process_and_no_other_file(path):
    begun = time.monotonic()
    report = inspect(File("0.go", "", "package a\n"), File(path, "", BOMBS[path]), File("z.py", "", "x = undefined\n"))
    states = {file.path: (file.state, file.reason) for file in report.files}
    assert states["0.go"] == states["z.py"] == ("parsed", "")
    assert states[path] == ("unchecked", GAVE_UP)
    assert [(finding.path, finding.rule) for finding in report.findings] == [("z.py", "F821")]
    assert time.monotonic() - begun < 30


def test_aliases_that_multiply_cost_nothing():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    assert inspect(File("a.yaml", "", "\n".join(lines))).files[0].state == "parsed"


def test_when_the_time_is_over_the_rest_is_unchecked(monkeypatch):
    monkeypatch.setattr(inspector, "SECONDS", 0.0)
    report = inspect(File("a.js", "", "let x"), File("a.go", "", "package a"))
    assert {(file.state, file.reason) for file in report.files} == {("unchecked", inspector.NO_TIME)}


def test_without_processes_everything_is_unchecked(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    report = inspect(File("a.js", "", "let x"))
    assert (report.files[0].state, report.files[0].reason) == ("unchecked", inspector.NO_PROCESS)


def test_the_loop_turns_while_files_are_parsed():
    async def turned() -> float:
        inspecting = asyncio.create_task(Inspector().inspect([File("a.js", "", "{" * 200_000)]))
        longest = 0.0
        while not inspecting.done():
            begun = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - begun)
        return longest

    assert asyncio.run(turned()) < 0.5


def test_cancelled_it_leaves_no_process_and_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    async def cancelled(after_s: float) -> None:
        inspecting = asyncio.create_task(lint({"a.py": "x = 1\n" * 100}))
        await asyncio.sleep(after_s)
        inspecting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await inspecting

    for after_s in (0, 0.001, 0.005, 0.02, 0.05):
        asyncio.run(cancelled(after_s))
        assert list(tmp_path.iterdir()) == []


def test_a_process_is_bounded_in_time_and_in_words():
    async def say(code: str, seconds: float = 30, most: int = 1000) -> tuple[int, str]:
        said = await ask((sys.executable, "-c", code), b"x" * 1_000_000, seconds, most)
        return len(said.out), said.cut

    assert asyncio.run(say("print('x' * 99)")) == (100, "")
    assert asyncio.run(say("import time; print('x', flush=True); time.sleep(60)", 1.0)) == (2, "time")
    length, cut = asyncio.run(say("while True: print('x' * 100)"))
    assert (length > 1000, cut) == (True, "size")
