"""From text to code and files: a table of answers as models write them, and the laws that hold for any text."""

import itertools
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from askonce.wire.fences import MAX_FILES, MAX_WARNINGS, FenceReader, File, parse


def py(path: str, content: str = "x = 1\n") -> File:
    return File(path, "python", content)


# name -> text, code, files
ANSWERS: dict[str, tuple[str, str, list[File]]] = {
    # --- without a block ---
    "nothing": ("", "", []),
    "white space": (" \n\t\n", "", []),
    "plain code": ("def f():\n    return 1\n", "def f():\n    return 1", []),
    "plain code, indented": ("\n\n    return 1\n\n", "    return 1", []),
    "plain text": ("I cannot do that.", "I cannot do that.", []),
    "inline code": ("Use `print` or ``x``.", "Use `print` or ``x``.", []),
    "a block on one line": ("```print(1)```", "print(1)", []),
    "a lone closing mark at the end": ("print(1)\n```\n", "print(1)", []),
    "a lone closing mark at the end of a line": ("print(1)```", "print(1)", []),
    "an opening mark and no more": ("Here you are:\n```python\n", "Here you are:", []),
    "CR": ("a\rb\r", "a\nb", []),
    # --- one block ---
    "one block": ("```python\nx = 1\n```", "x = 1\n", []),
    "one block in text": ("Sure!\n\n```python\nx = 1\n```\n\nBye.", "x = 1\n", []),
    "untagged": ("```\nx = 1\n```", "x = 1\n", []),
    "only prose": ("```text\nhello\n```", "hello\n", []),
    "empty": ("Text.\n\n```python\n```\n", "", []),
    "white space is kept": ("```\n\n  a \n\t\n\n```", "\n  a \n\t\n\n", []),
    "CR LF": ("A\r\n```python a.py\r\nx = 1\r\ny = 2\r\n```\r\n", "x = 1\ny = 2\n", [py("a.py", "x = 1\ny = 2\n")]),
    "CR alone": ("```python\rx = 1\r```\r", "x = 1\n", []),
    "tildes": ("~~~python a.py\nx = 1\n~~~", "x = 1\n", [py("a.py")]),
    "tildes hold backticks": ("~~~text\n```\nx\n```\n~~~", "```\nx\n```\n", []),
    "backticks hold tildes": ("```text\n~~~\nx\n~~~\n```", "~~~\nx\n~~~\n", []),
    "an info string behind tildes may hold backticks": ("~~~ `a`\nx\n~~~", "x\n", []),
    "a longer fence": ("`````python\nx = 1\n`````", "x = 1\n", []),
    "a longer fence holds shorter ones": ("````\n```\nx\n```\n````", "```\nx\n```\n", []),
    "a closing fence may be longer": ("```\nx\n`````\ny", "x\n", []),
    "white space behind a fence": ("```python  \nx = 1\n```  \t\nBye", "x = 1\n", []),
    "a space before the tag": ("``` python\nx = 1\n```", "x = 1\n", []),
    "two backticks are no fence": ("``\nx\n``", "``\nx\n``", []),
    "two tildes are no fence": ("~~\nx\n~~", "~~\nx\n~~", []),
    "Unicode": ("```\n日本 🦉\u2028\x85\x0c\n```", "日本 🦉\u2028\x85\x0c\n", []),
    # --- not closed ---
    "unclosed": ("```python a.py\nx = 1\n", "x = 1\n", [py("a.py")]),
    "cut in a line": ("```python a.py\nx = ", "x = ", [py("a.py", "x = ")]),
    "cut in the closing fence": ("```python\nx = 1\n``", "x = 1\n``", []),
    "closed at the end of a line": ("```python\nx = 1```", "x = 1\n", []),
    "closed by a shorter fence": ("````python\nx = 1\n```\n", "x = 1\n", []),
    "closed too far to the right": ("```python\nx = 1\n      ```\n", "x = 1\n", []),
    "the last of two unclosed": (
        "```python a.py\nx = 1\n```\n```sh b.sh\nls",
        "x = 1\n",
        [py("a.py"), File("b.sh", "sh", "ls")],
    ),
    "never closed before the next": (
        "```python a.py\nx = 1\n```js b.js\ny\n```\n",
        "x = 1\n",
        [py("a.py"), File("b.js", "js", "y\n")],
    ),
    # --- indented, in lists, behind prose ---
    "indented by three": ("   ```python\n   x = 1\n     y\n   ```", "x = 1\n  y\n", []),
    "indented by more": ("1. Do:\n\n      ```python\n      x = 1\n      ```\n\n2. Done", "x = 1\n", []),
    "indented by a tab": ("\t```python\n\tx = 1\n\t\ty\n\t```", "x = 1\n\ty\n", []),
    "lines with less indentation than their fence": ("  ```\n x\ny\n   z\n  ```", "x\ny\n z\n", []),
    "closed further left": ("   ```\n   x\n```\ny", "x\n", []),
    "behind a list marker": ("- ```python\n  x = 1\n  ```\n", "x = 1\n", []),
    "behind a number": ("1. ```python\n   x = 1\n   ```\n", "x = 1\n", []),
    "at the end of prose": ("Here you are: ```python\nx = 1\n```\nBye", "x = 1\n", []),
    "at the end of a label": ("File: a.py ```python\nx = 1\n```", "x = 1\n", [py("a.py")]),
    "a fence in a docstring is text": (
        '```python\ndef f():\n    """\n    ```\n    f()\n    ```\n    """\n```\nBye',
        'def f():\n    """\n    ```\n    f()\n    ```\n    """\n',
        [],
    ),
    "inline code in front is no fence": ("```not``` a fence\n```python\nx = 1\n```", "x = 1\n", []),
    # --- nested ---
    "a README with blocks of its own": (
        "```markdown README.md\n# A\n\n```bash\npip install a\n```\n\nBye\n```\n\n```python a.py\nx = 1\n```",
        "x = 1\n",
        [File("README.md", "markdown", "# A\n\n```bash\npip install a\n```\n\nBye\n"), py("a.py")],
    ),
    "a README with an untagged block": (
        "**README.md**\n```markdown\n# A\n\n```\nsrc/\n```\n\n## B\n```\n\n```python a.py\nx = 1\n```",
        "x = 1\n",
        [File("README.md", "markdown", "# A\n\n```\nsrc/\n```\n\n## B\n"), py("a.py")],
    ),
    "a README with an untagged block behind a colon": (
        "```md README.md\n# A\nTree:\n```\nsrc/\n```\n```\nBye",
        "# A\nTree:\n```\nsrc/\n```\n",
        [File("README.md", "md", "# A\nTree:\n```\nsrc/\n```\n")],
    ),
    "a README that ends with an empty line": (
        "```md README.md\n# A\n\n```\n\nBye",
        "# A\n\n",
        [File("README.md", "md", "# A\n\n")],
    ),
    "a README that ends with an empty line, next to a block": (
        "```md README.md\n# A\n\n```\n```python a.py\nx = 1\n```",
        "x = 1\n",
        [File("README.md", "md", "# A\n\n"), py("a.py")],
    ),
    "a README in a longer fence": (
        "````markdown README.md\n# A\n\n```\nsrc/\n```\n````",
        "# A\n\n```\nsrc/\n```\n",
        [File("README.md", "markdown", "# A\n\n```\nsrc/\n```\n")],
    ),
    "a README that was cut in a block of its own": (
        "```markdown README.md\n# A\n\n```bash\npip",
        "# A\n\n```bash\npip",
        [File("README.md", "markdown", "# A\n\n```bash\npip")],
    ),
    "a README without a name, alone": (
        "```markdown\n# A\n\n```bash\npip\n```\n\nB\n```\n",
        "# A\n\n```bash\npip\n```\n\nB\n",
        [],
    ),
    "a fence in a string": (
        '```python a.py\nP = """\n```json\n{}\n```\n"""\n```\nBye',
        'P = """\n```json\n{}\n```\n"""\n',
        [py("a.py", 'P = """\n```json\n{}\n```\n"""\n')],
    ),
    "nested twice": ("```md\n# A\n```md\n```py\nx\n```\n```\n```\nB", "# A\n```md\n```py\nx\n```\n```\n", []),
    # --- wrapped ---
    "all wrapped in Markdown": (
        "```markdown\nHere is the code:\n\n```python a.py\nx = 1\n```\n\nBye.\n```",
        "x = 1\n",
        [py("a.py")],
    ),
    "all wrapped, with labels": (
        "```markdown\n**a.py**\n```python\nx = 1\n```\n\n**b.py**\n```python\nx = 1\n```\n```\n",
        "x = 1\n",
        [py("a.py"), py("b.py")],
    ),
    "all wrapped in a longer fence": (
        "````md\nText.\n\n```python\nx = 1\n```\n````\nBye",
        "x = 1\n",
        [],
    ),
    "wrapped behind a greeting": (
        "Sure!\n\n```markdown\n### a.py\n```python\nx = 1\n```\n```",
        "x = 1\n",
        [py("a.py")],
    ),
    "wrapped in an untagged block": ("```\n```python\nx = 1\n```\n```", "x = 1\n", []),
    "an untagged block in a wrapper": ("```md\nRun:\n\n```\nx = 1\n```\n\nBye.\n```\n", "x = 1\n", []),
    "a wrapper that is never closed": ("```md\nText.\n```python a.py\nx = 1\n```\n", "x = 1\n", [py("a.py")]),
    "wrapped prose is the block": ("```markdown\nDear Ada,\n\nyes.\n```\n\nAnything else?", "Dear Ada,\n\nyes.\n", []),
    # --- several blocks ---
    "the first that is not prose": ("```text\nplan\n```\n```python\nx = 1\n```\n```js\ny\n```", "x = 1\n", []),
    "prose by its name": (
        "```NOTES.md\n# A\n```\n```a.py\nx = 1\n```",
        "x = 1\n",
        [File("NOTES.md", "markdown", "# A\n"), py("a.py")],
    ),
    "what a terminal shows": ("```console\n$ ls\n```\n```python\nx = 1\n```", "x = 1\n", []),
    "how to install": ("```bash\npip install a\n# then\npython a.py\n```\n```python\nx = 1\n```", "x = 1\n", []),
    "a script is code": (
        "```bash\nfor f in *; do echo $f; done\n```\n```python\nx = 1\n```",
        "for f in *; do echo $f; done\n",
        [],
    ),
    "an untagged tree beside tagged code": ("```\nsrc/\n  a.py\n```\n```python\nx = 1\n```", "x = 1\n", []),
    "untagged blocks only": ("```\nx = 1\n```\n```\ny\n```", "x = 1\n", []),
    "untagged code before how to run it": ("```\nx = 1\n```\n```bash\npython a.py\n```", "x = 1\n", []),
    "prose only": ("```text\na\n```\n```md\nb\n```", "a\n", []),
    "an empty block": ("```python\n```\n```python\nx = 1\n```", "x = 1\n", []),
    "the same path again": (
        "```python a.py\nx = 0\n```\n```b.txt\nb\n```\nBetter:\n```python ./a.py\nx = 1\n```",
        "x = 1\n",
        [py("a.py"), File("b.txt", "text", "b\n")],
    ),
    # --- paths ---
    "a path in the info string": ("```python src/a.py\nx = 1\n```", "x = 1\n", [py("src/a.py")]),
    "a path with a key": ('```python path="src/a.py"\nx = 1\n```', "x = 1\n", [py("src/a.py")]),
    "a path alone": ("```src/a.py\nx = 1\n```", "x = 1\n", [py("src/a.py")]),
    "a path behind a colon": ("```python:src/a.py\nx = 1\n```", "x = 1\n", [py("src/a.py")]),
    "a label": ("**src/a.py**\n```python\nx = 1\n```", "x = 1\n", [py("src/a.py")]),
    "a label and an empty line": ("`src/a.py`:\n\n```python\nx = 1\n```", "x = 1\n", [py("src/a.py")]),
    "a label too far above": ("`src/a.py`\n\n\n\n```python\nx = 1\n```", "x = 1\n", []),
    "a label is used once": ("**a.py**\n```python\nx = 1\n```\n\n```python\ny\n```", "x = 1\n", [py("a.py")]),
    "a heading above a sentence": ("### `a.py`\n\nThe main module.\n\n```python\nx = 1\n```", "x = 1\n", [py("a.py")]),
    "a heading above an essay": ("### `a.py`\n\n1\n\n2\n\n3\n\n4\n\n```python\nx = 1\n```", "x = 1\n", []),
    "a heading under another": ("### a.py\n### Usage\n```python\nx = 1\n```", "x = 1\n", []),
    "details": (
        "<details>\n<summary>File: src/a.py</summary>\n\n```python\nx = 1\n```\n\n</details>",
        "x = 1\n",
        [py("src/a.py")],
    ),
    "aider's whole files": (
        "src/a.py\n```python\nx = 1\n```\n\nsrc/b.py\n```\nx = 1\n```",
        "x = 1\n",
        [py("src/a.py"), py("src/b.py")],
    ),
    "a first comment": (
        "```python\n# src/a.py\nx = 1\n```",
        "# src/a.py\nx = 1\n",
        [py("src/a.py", "# src/a.py\nx = 1\n")],
    ),
    "a first comment in untagged code": (
        "```\n// a.ts\nx\n```",
        "// a.ts\nx\n",
        [File("a.ts", "typescript", "// a.ts\nx\n")],
    ),
    "a first comment that JSON does not have": (
        "```json\n// a.json\n{}\n```",
        "{}\n",
        [File("a.json", "json", "{}\n")],
    ),
    "a first comment in another language's form": (
        "```js\n## a.js\nx\n```",
        "x\n",
        [File("a.js", "js", "x\n")],
    ),
    "a comment that JSON does not have below a label": (
        "**a.json**\n```json\n// a.json\n{}\n```",
        "{}\n",
        [File("a.json", "json", "{}\n")],
    ),
    "the info string before the label": ("**b.py**\n```python a.py\nx = 1\n```", "x = 1\n", [py("a.py")]),
    "the label before the comment": ("**a.py**\n```python\n# b.py\n```", "# b.py\n", [py("a.py", "# b.py\n")]),
    "the language from a known name": (
        "```\n# Dockerfile\nFROM a\n```",
        "# Dockerfile\nFROM a\n",
        [File("Dockerfile", "dockerfile", "# Dockerfile\nFROM a\n")],
    ),
    "an unknown extension": ("```src/a.xyz\nx\n```", "x\n", [File("src/a.xyz", "", "x\n")]),
    "an empty file": ("```python src/__init__.py\n```", "", [py("src/__init__.py", "")]),
    "without a path no file": ("```python\nx = 1\n```\n```js\ny\n```", "x = 1\n", []),
    "commands below a program's name": ("**a.py**\n```bash\npython a.py\n```", "python a.py\n", []),
    "output below a program's name": ("### `a.py`\n```console\n1\n```", "1\n", []),
    "settings tagged as shell": ("**.env**\n```bash\nA=1\n```", "A=1\n", [File(".env", "bash", "A=1\n")]),
    "a path on a wrapped line of reasoning": (
        "<think>\n**b.py**\n```python\nno\n```\n</think>\n\n**a.py**\n```python\nx = 1\n```",
        "x = 1\n",
        [py("a.py")],
    ),
    "reasoning that never ends": ("<think>\nHm.\n```python\nx = 1\n```\n", "<think>\nHm.\nx = 1", []),
    "reasoning without a block": ("<think>Hm.</think>\n\nx = 1\n", "x = 1", []),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_is_read(case: str) -> None:
    text, code, files = ANSWERS[case]
    parsed = parse(text)
    assert (parsed.code, list(parsed.files), parsed.warnings) == (code, files, ())


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_is_read_the_same_letter_by_letter(case: str) -> None:
    text, code, files = ANSWERS[case]
    reader = FenceReader()
    fed = {file.path: file for letter in text for file in reader.feed(letter)}
    fed |= {file.path: file for file in reader.close()}
    assert list(fed.values()) == files
    assert reader.finish().code == code


WARNED = {
    "absolute": ("```python /etc/passwd\nx\n```", "absolute"),
    "absolute label": ("**/etc/passwd**\n```\nx\n```", "absolute"),
    "absolute comment": ("```python\n# /etc/passwd\nx\n```", "absolute"),
    "climbing": ("```python ../a.py\nx\n```", "climbs"),
    "climbing label": ("File: ../../a.py\n```python\nx\n```", "climbs"),
    "climbing comment": ("```python\n# src/../../a.py\nx\n```", "climbs"),
    "backslashes": ("```python path=src\\..\\a.py\nx\n```", "climbs"),
    "drive": ("```python C:\\a.py\nx\n```", "drive"),
    "control": ("```python src/a\x00.py\nx\n```", "control"),
    "folder": ("```python src/\nx\n```", "folder"),
    "home": ("```python ~/a.py\nx\n```", "home"),
    "empty": ('```python path=""\nx\n```', "empty"),
    "diff": ("```diff a.py\n-x\n+y\n```", "only changes"),
    "search and replace": (
        "a.py\n```python\n<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\n```",
        "only changes",
    ),
}


@pytest.mark.parametrize("case", WARNED)
def test_a_refused_path_is_a_warning_and_no_file(case: str) -> None:
    text, reason = WARNED[case]
    parsed = parse(text)
    assert parsed.files == ()
    assert len(parsed.warnings) == 1
    assert reason in parsed.warnings[0]
    assert parsed.code


def test_a_refused_path_is_not_replaced_by_a_weaker_claim() -> None:
    assert parse("**a.py**\n```python ../b.py\n# c.py\n```").files == ()


def test_a_diff_may_be_a_file_of_its_own() -> None:
    assert parse("```diff fix.patch\n-x\n```").files == (File("fix.patch", "diff", "-x\n"),)


def test_a_file_is_told_once_complete() -> None:
    reader = FenceReader()
    assert reader.feed("```python a.py\nx = 1\n``") == []
    assert reader.feed("`") == []  # it may yet become longer, or open a nested block
    assert reader.feed("\n") == [py("a.py")]
    assert reader.feed("```python b.py\nx = 1\n```") == []
    assert reader.close() == [py("b.py")]
    assert reader.close() == []
    assert reader.finish().files == (py("a.py"), py("b.py"))


def test_files_and_warnings_are_bounded() -> None:
    parsed = parse("".join(f"```a{number}.py\n```\n" for number in range(MAX_FILES + 5)))
    assert len(parsed.files) == MAX_FILES
    assert len(parsed.warnings) == 1
    parsed = parse("".join(f"```/a{number}.py\n```\n" for number in range(MAX_WARNINGS + 5)))
    assert len(parsed.warnings) == MAX_WARNINGS


# Pieces that matter to the format come often; anything else sometimes.
texts = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "```",
                "````",
                "~~~",
                "`",
                "\n",
                "\n\n",
                "\r\n",
                "\r",
                " ",
                "    ",
                "\t",
                "- ",
                "# ",
                "**a.py**",
                "`b.py`:",
            ]
        ),
        st.sampled_from(
            ["python", "md", "bash", "text", " a.py", " ../a.py", "# c.py", "<think>", "</think>", "x = 1"]
        ),
        st.sampled_from(["```python a.py\n", "```markdown\n", "\n```\n", "```json\n// d.json\n", "{}", "\0", "\ud800"]),
        st.text(max_size=5),
    ),
    max_size=40,
).map("".join)


@given(texts, st.lists(st.integers(0, 300), max_size=20))
@example("```python a.py\r\nx\r\n```\r\n", [1, 2, 15, 16, 17, 19, 20, 22, 23])
def test_every_chunking_reads_the_same(text: str, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    reader = FenceReader()
    fed = {file.path: file for start, end in itertools.pairwise(edges) for file in reader.feed(text[start:end])}
    fed |= {file.path: file for file in reader.close()}
    parsed = reader.finish()
    assert parsed == parse(text)
    assert tuple(fed.values()) == parsed.files


@given(texts)
def test_any_text_is_read(text: str) -> None:
    parsed = parse(text)
    for file in parsed.files:
        assert file.path
        assert ".." not in file.path.split("/")
        assert not file.path.startswith("/")
    assert "\r" not in parsed.code


contents = st.text(st.characters(exclude_characters="`~<*\r", codec="utf-8")).map(lambda text: text + "\n")
tags = st.sampled_from(["python", "js", "", "c++"])


@given(st.lists(st.tuples(tags, contents), min_size=1, max_size=5))
def test_files_rendered_as_blocks_are_read_back(blocks: list[tuple[str, str]]) -> None:
    files = [File(f"src/{number}.xyz", tag, content) for number, (tag, content) in enumerate(blocks)]
    text = "\n".join(f"```{file.language} path={file.path}\n{file.content}```\n" for file in files)
    assert list(parse(text).files) == files


HOSTILE = {
    "backticks": "`" * 1_000_000,
    "backticks and a letter": "`" * 1_000_000 + "x`",
    "spaced backticks": "``` " * 250_000,
    "tildes": "~" * 1_000_000,
    "fences": "```\n" * 250_000,
    "tagged fences": "```a\n" * 200_000,
    "fences in Markdown": "```md\n# a\n" + "\n```\nx\n" * 150_000,
    "growing fences": "".join("`" * length + "a\n" for length in range(3, 1400)),
    "shrinking fences": "".join("`" * length + "a\n" for length in range(1400, 3, -1)),
    "spaces": " " * 1_000_000 + "```",
    "spaces in prose": "x" + " " * 500_000 + "x" + " " * 500_000 + "```" + " " * 1000 + "!",
    "blank lines": "\n" * 1_000_000,
    "empty blocks": "```python a.py\n```\n" * 50_000,
    "labels": "**src/a.py** (" * 70_000 + "\n```\n",
    "short labels": "### File 1: `src/a.py` -\n```python\n" * 25_000,
    "a long info string": "```python " + "path " * 200_000,
    "a long line in a block": "```python\n# " + "a/" * 500_000,
    "CR": "\r" * 1_000_000,
    "list markers": "- " * 500_000 + "```",
    "think": "<think>" * 150_000,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_texts_cost_linear_time(case: str) -> None:
    """The bound is generous for a loaded machine; what is quadratic takes minutes for a megabyte."""
    text = HOSTILE[case]
    began = time.process_time()
    parse(text)
    assert time.process_time() - began < 10
