"""Which paths are accepted, and as what; which are refused, and why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.wire.fence_paths import MAX_PART_BYTES, MAX_PATH_BYTES, UnsafePath, is_path, vet

ACCEPTED = {
    "a.py": "a.py",
    "src/a.py": "src/a.py",
    "./src/a.py": "src/a.py",
    "src/./a.py": "src/a.py",
    "src//a.py": "src/a.py",
    r"src\a.py": "src/a.py",
    r".\src\a.py": "src/a.py",
    "Makefile": "Makefile",
    ".gitignore": ".gitignore",
    "src/.gitkeep": "src/.gitkeep",
    "git/config": "git/config",
    ".github/workflows/ci.yml": ".github/workflows/ci.yml",
    "my file.py": "my file.py",
    "a..b.py": "a..b.py",
    "app/[...slug]/page.tsx": "app/[...slug]/page.tsx",
    "app/(home)/$id.tsx": "app/(home)/$id.tsx",
    "@types/a.d.ts": "@types/a.d.ts",
    "src/~a.py": "src/~a.py",
    "größe/日本.py": "größe/日本.py",
    "x" * MAX_PART_BYTES: "x" * MAX_PART_BYTES,
}


@pytest.mark.parametrize("claim", ACCEPTED)
def test_a_relative_path_is_accepted(claim: str) -> None:
    assert vet(claim) == ACCEPTED[claim]


REFUSED = {
    "": "empty",
    "  ": "empty",
    ".": "folder",
    "./": "folder",
    "/": "absolute",
    "/etc/passwd": "absolute",
    "//server/share/a.py": "absolute",
    r"\\server\share\a.py": "absolute",
    r"\a.py": "absolute",
    " /etc/passwd": "absolute",
    "..": "climbs",
    "../a.py": "climbs",
    "src/../../a.py": "climbs",
    "src/..": "climbs",
    r"src\..\a.py": "climbs",
    r"..\a.py": "climbs",
    "src/.. /a.py": "climbs",
    "src/. ./a.py": "climbs",
    "src/.../a.py": "climbs",
    "C:/a.py": "drive",
    r"C:\a.py": "drive",
    "c:a.py": "drive",
    "~/a.py": "home",
    "~root/a.py": "home",
    "~": "home",
    ".git/config": "Git",
    "src/.git/hooks/pre-commit": "Git",
    ".GIT/config": "Git",
    ".git": "Git",
    ".git./config": "Git",
    ".git /config": "Git",
    ".Git. . /config": "Git",
    "a/.git ": "Git",
    r".git\config": "Git",
    ".//.git//config": "Git",
    "git~1/config": "Git",
    "\uff0egit/config": "Git",
    ".\uff47\uff49\uff54/config": "Git",
    ".g\u200cit/config": "control",
    "src/": "folder",
    "src\\": "folder",
    "src/.": "folder",
    "src/a.py:stream": "colon",
    "http://example.com/a.py": "colon",
    "src/*.py": "wildcard",
    "src/<name>.py": "wildcard",
    'src/"a".py': "wildcard",
    "a|b": "wildcard",
    "a\x00.py": "control",
    "a\n.py": "control",
    "a\r.py": "control",
    "a\t.py": "control",
    "a\x1b[31m.py": "control",
    "a\x7f.py": "control",
    "a\x85.py": "control",
    "a\u202egnp.py": "control",
    "a\u200b.py": "control",
    "a\u2028.py": "control",
    "a\ud800.py": "control",
    "\uff0fetc/passwd": "absolute",
    "\u2025/a.py": "climbs",
    "\uff0e\uff0e/a.py": "climbs",
    "C\uff1a/a.py": "drive",
    "x" * (MAX_PART_BYTES + 1): "part",
    "ü" * (MAX_PART_BYTES // 2 + 1): "part",
    "a/" * (MAX_PATH_BYTES // 2) + "b": "longer",
    "ü/" * (MAX_PATH_BYTES // 3 + 1) + "b": "longer",
}


@pytest.mark.parametrize("claim", REFUSED)
def test_an_unsafe_path_is_refused_with_its_reason(claim: str) -> None:
    with pytest.raises(UnsafePath, match=REFUSED[claim]):
        vet(claim)


def test_a_refusal_is_one_short_printable_line() -> None:
    with pytest.raises(UnsafePath) as refused:
        vet("/\x1b[31m\u202e\n" + "x" * 300)
    assert str(refused.value).isascii()
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 250


hostile = st.lists(
    st.one_of(
        st.sampled_from(["..", ".", "/", "\\", "~", "C:", " ", ".git", "a", "\0", "\uff0e", "\u2025", "\ud800"]),
        st.text(),
    )
).map("".join)


@given(hostile)
def test_what_is_accepted_stays_below_its_folder(claim: str) -> None:
    try:
        path = vet(claim)
    except UnsafePath:
        return
    parts = path.split("/")
    assert all(part.strip(" .") for part in parts)
    assert not any(ord(char) < 32 or ord(char) == 127 for char in path)
    assert not path.startswith(("/", "~"))
    assert "\\" not in path
    assert ":" not in path
    assert ".git" not in (part.lower() for part in parts)
    assert vet(path) == path


@given(hostile, st.booleans())
def test_believing_never_fails(claim: str, among_words: bool) -> None:
    is_path(claim, among_words=among_words)
