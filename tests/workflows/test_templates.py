"""Templates put in what they name, once; files come back as they went in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.domain.errors import Invalid
from askonce.wire.fence_paths import UnsafePath, vet
from askonce.wire.fences import File, parse
from askonce.workflows.templates import Slot, blocks_of, read_template, render, slots_of, value_at

FORMS = "{{input.NAME}}, {{nodes.ID.text}} and {{nodes.ID.files}}"


def filled(text: str, value: str) -> str:
    return render(read_template(text), lambda slot: value)


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("plain", "plain"),
        ("", ""),
        ("a {{input.x}} b", "a V b"),
        ("{{ input.x.y }}{{nodes.a-1.text}}", "VV"),
        ("{{{{input.x}}}}", "{{input.x}}"),
        ("{{{{{{input.x}}}}}}", "{{V}}"),
        ("{{input.x}}}}}}", "V}}"),
        ("{ } {x}", "{ } {x}"),
    ],
)
def test_what_is_named_is_put_in(text: str, rendered: str) -> None:
    assert filled(text, "V") == rendered


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a {{", "holds {{ without }} behind it (write {{{{ for two braces)"),
        ("{{input.x}", "holds {{ without }} behind it (write {{{{ for two braces)"),
        ('{"a": {"b": 1}}', "holds }} without {{ before it (write }}}} for two braces)"),
        ("{{x}}", f"holds {{{{x}}}}, which is nothing that can be put in: there are {FORMS}"),
        ("{{input}}", f"holds {{{{input}}}}, which is nothing that can be put in: there are {FORMS}"),
        ("{{" + "y" * 99 + "}}", f"holds {{{{{'y' * 60}}}}}, which is nothing that can be put in: there are {FORMS}"),
    ],
)
def test_what_cannot_be_put_in_is_refused(text: str, says: str) -> None:
    with pytest.raises(Invalid) as refusal:
        read_template(text)
    assert refusal.value.message == says


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("{{inputs.x}}", "{{input.x}}"),
        ("{{Input.x}}", "{{input.x}}"),
        ("{{node.a.text}}", "{{nodes.a.text}}"),
        ("{{nodes.a}}", "{{nodes.a.text}}"),
        ("{{nodes.a.file}}", "{{nodes.a.files}}"),
        ("{{nodes.a.code}}", "{{nodes.a.text}}"),
    ],
)
def test_what_was_probably_meant_is_suggested(text: str, meant: str) -> None:
    with pytest.raises(Invalid) as refusal:
        read_template(text)
    assert f" (did you mean {meant}?): " in refusal.value.message


def test_slots_say_what_they_want() -> None:
    parts = read_template("{{input.a.b}} {{nodes.n.files}} {{nodes.n.text}}")
    assert slots_of(parts) == [Slot("input", ("a", "b")), Slot("files", (), "n"), Slot("text", (), "n")]
    assert [str(slot) for slot in slots_of(parts)] == ["input.a.b", "nodes.n.files", "nodes.n.text"]
    assert value_at({"a": {"b": 1}}, ("a", "b")) == 1
    with pytest.raises(KeyError, match="c"):
        value_at({"a": {"b": 1}}, ("a", "c", "d"))


@given(st.lists(st.text() | st.sampled_from(["{", "}", "{{", "}}", "{{input.x}}"])), st.text())
def test_what_is_put_in_is_never_looked_at_again(around: list[str], value: str) -> None:
    before = "|".join(around)
    escaped = before.replace("{{", "{{{{").replace("}}", "}}}}")
    assert filled(f"{escaped}|{{{{input.x}}}}|{escaped}", value) == f"{before}|{value}|{before}"


@given(st.text(alphabet="{}.ax inputodes", max_size=40))
def test_any_text_is_a_template_or_refused(text: str) -> None:
    try:
        parts = read_template(text)
    except Invalid:
        return
    assert ("".join(map(str, parts)) == text) or slots_of(parts) or "{{{{" in text or "}}}}" in text


def test_what_grows_too_large_is_refused() -> None:
    assert len(filled("{{input.x}}", "x" * 4_000_000)) == 4_000_000
    with pytest.raises(Invalid, match=r"The prompt is longer than 4,000,000 characters, filled in\."):
        filled("{{input.x}}", "x" * 4_000_001)


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("Look: {{nodes.a.files}} Now go.", "Look: \nFILES\n Now go."),
        ("{{nodes.a.files}}{{nodes.b.files}}", "FILES\nFILES"),
        ("a\n{{nodes.a.files}}\nb", "a\nFILES\nb"),
        ("{{nodes.none.files}}b", "b"),
        ("a {{nodes.none.files}} b", "a  b"),
    ],
)
def test_files_stand_on_lines_of_their_own(text: str, rendered: str) -> None:
    assert render(read_template(text), lambda slot: "" if slot.node == "none" else "FILES") == rendered


@pytest.mark.parametrize(
    ("file", "block"),
    [
        (File("a.py", "python", "x\n"), "```python a.py\nx\n```"),
        (File("a.py", "python", "x"), "```python a.py\nx\n```"),
        (File("a.py", "python", ""), "```python a.py\n```"),
        (File("a.md", "markdown", "````\n"), "`````markdown a.md\n````\n`````"),
        (File("src/Procfile", "", "x\n"), "```src/Procfile\nx\n```"),
        (File("my file.py", "python", "x\n"), '```python path="./my file.py"\nx\n```'),
        (File("_a_", "text", "x\n"), '```text path="./_a_"\nx\n```'),
        (File("a`b.py", "python", "~~~\n"), "~~~~python a`b.py\n~~~\n~~~~"),
    ],
)
def test_a_file_is_a_block_behind_a_fence_longer_than_any_in_it(file: File, block: str) -> None:
    assert blocks_of([file]) == block
    assert [made.path for made in parse(block).files] == [file.path]


PATHS = st.sampled_from(["src/a.py", "b.js", "docs/read.md", "Makefile", "c.txt", "x/y.json", "u.csv", "d.diff", "z"])
PIECES = st.sampled_from(
    [
        "x = 1", "", "```", "````js a.js", "  ```", "text", "# a", "~~~", "~~~~py", "so:", "# users.csv", "// b.js",
        "/*", " * path: q.ts", "<think>", "</think>", "<<<<<<< SEARCH", "*** Begin Patch", "- ```", "a ``` b ```",
        "\t`````", "**`e.go`**", "```diff", '```json path="f/g h.json"', "{", "}",
    ]
)  # fmt: skip
LINES = st.lists(PIECES, max_size=8)


def ended(files: tuple[File, ...]) -> list[File]:
    """Give last lines their ends: a fence stands on a line of its own."""
    return [
        File(file.path, file.language, file.content + "\n" * (file.content[-1:] not in ("", "\n"))) for file in files
    ]


@given(st.dictionaries(PATHS, LINES, min_size=1, max_size=4))
def test_contents_come_back_as_they_went_in(made: dict[str, list[str]]) -> None:
    files = [File(path, "text", "".join(f"{line}\n" for line in lines)) for path, lines in made.items()]
    kept = {file.path: file for file in parse(blocks_of(files)).files}
    for file in files:
        # What is a change of a file instead of one is never among a node's files.
        assert kept.get(file.path, file) == file


@given(st.lists(PIECES | st.text(max_size=12), max_size=30))
def test_files_that_a_node_left_are_read_back_as_they_were(answer: list[str]) -> None:
    files = parse("\n".join(answer)).files
    assert list(parse(blocks_of(files)).files) == ended(files)


@given(st.text(min_size=1, max_size=24), LINES)
def test_every_path_that_may_be_used_is_read_back(claim: str, lines: list[str]) -> None:
    try:
        path = vet(claim)
    except UnsafePath:
        return
    file = File(path, "", "".join(f"{line}\n" for line in ["x", *lines]))
    (back,) = parse(blocks_of([file])).files
    assert (back.path, back.content) == (file.path, file.content)
