"""Templates put in what they name, once; files come back as they went in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.domain.errors import Invalid
from askonce.wire.fences import File, parse
from askonce.workflows.templates import Slot, blocks_of, read_template, render, slots_of, value_at


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
        ("{ } {x}", "{ } {x}"),
    ],
)
def test_what_is_named_is_put_in(text: str, rendered: str) -> None:
    assert filled(text, "V") == rendered


@pytest.mark.parametrize("text", ["{{", "}}", "{{x}}", "{{input}}", "{{nodes.a}}", "{{nodes.a.code}}", "{{input.x"])
def test_what_cannot_be_put_in_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        read_template(text)


def test_slots_say_what_they_want() -> None:
    parts = read_template("{{input.a.b}} {{nodes.n.files}} {{nodes.n.text}}")
    assert slots_of(parts) == [Slot("input", ("a", "b")), Slot("files", (), "n"), Slot("text", (), "n")]
    assert [str(slot) for slot in slots_of(parts)] == ["input.a.b", "nodes.n.files", "nodes.n.text"]
    assert value_at({"a": {"b": 1}}, ("a", "b")) == 1


@given(st.text(), st.text())
def test_what_is_put_in_is_never_looked_at_again(before: str, value: str) -> None:
    escaped = before.replace("{{", "").replace("}}", "")
    if escaped.endswith("{"):
        escaped += " "
    assert filled(f"{escaped}{{{{input.x}}}}", value) == escaped + value


def test_what_grows_too_large_is_refused() -> None:
    with pytest.raises(Invalid, match="longer than"):
        filled("{{input.x}}", "x" * 4_000_001)


NAMES = st.sampled_from(["src/a.py", "b.js", "docs/read.md", "Makefile", "c.txt", "x/y/z.go"])
LINES = st.lists(st.sampled_from(["x = 1", "", "```", "````js a.js", "  ```", "text", "# a", "~~~"]), max_size=8)


@given(st.dictionaries(NAMES, LINES, min_size=1, max_size=4))
def test_files_come_back_as_they_went_in(made: dict[str, list[str]]) -> None:
    files = [File(path, "python", "".join(f"{line}\n" for line in lines)) for path, lines in made.items()]
    back = {file.path: file.content for file in parse(blocks_of(files)).files}
    assert {path: content.rstrip("\n") for path, content in back.items()} == {
        file.path: file.content.rstrip("\n") for file in files if file.content.strip() or file.path in back
    }
