"""What changed is told as it is, in bounded time, and the risk is what its table says."""

import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from askonce.domain.executions import NodeRun
from askonce.wire.fences import File
from askonce.workflows.review.diffs import MAX_CHARS_IN_ALL, MAX_DIFF_CHARS, MAX_LINES, Change, changes, changes_of
from askonce.workflows.review.risk import Risk, risk_of


def run(node: str, **files: str) -> NodeRun:
    made = [File(path.replace("_", "."), "", content) for path, content in files.items()]
    return NodeRun("x", node, "succeeded", files=Raw(msgspec.json.encode(made)))


def test_a_change_is_a_unified_diff():
    found = changes(
        {"a.py": "x = 1\ny = 2\n", "gone": "1\n2\n", "same": "z"}, {"a.py": "x = 1\ny = 3\n", "b": "1", "same": "z"}
    )
    assert found == (
        Change("a.py", "changed", 1, 1, 2, "--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n x = 1\n-y = 2\n+y = 3"),
        Change("b", "added", 1, 0),
        Change("gone", "removed", 0, 2, 2),
    )


def test_each_node_is_compared_with_what_was_there_before_it():
    runs = {
        "one": run("one", a_py="1\n", b_py="1\n"),
        "two": run("two", a_py="1\n2\n"),
        "three": run("three", b_py="1\n"),
    }
    found = changes_of(runs)
    assert [(change.node, change.path, change.kind, change.added, change.removed) for change in found] == [
        ("one", "a.py", "added", 1, 0),
        ("one", "b.py", "added", 1, 0),
        ("two", "a.py", "changed", 1, 0),
    ]


_texts = st.lists(st.sampled_from(["a", "b", "c", "", "+++ x", "--- y"]), max_size=12).map("\n".join)


@given(_texts, _texts)
def test_counts_are_those_of_the_lines(before, after):
    for change in changes({"a": before}, {"a": after}):
        assert len(before.splitlines()) - change.removed + change.added == len(after.splitlines())


def test_diffs_are_bounded():
    long = "".join(f"{number} {'x' * 100}\n" for number in range(MAX_LINES))
    before = {f"{number}.txt": long for number in range(30)}
    found = changes(before, {path: text.replace("0 x", "0 y") for path, text in before.items()})
    assert all(len(change.diff) <= MAX_DIFF_CHARS and change.cut for change in found)
    assert sum(len(change.diff) for change in found) <= MAX_CHARS_IN_ALL
    assert changes({"a": "x\n" * MAX_LINES}, {"a": "y\n" * (MAX_LINES + 1)})[0] == Change(
        "a", "changed", MAX_LINES + 1, MAX_LINES, MAX_LINES, cut=True
    )


def test_long_stretches_that_differ_at_one_place_are_compared():
    before = "same\n" * 100_000
    change = changes({"a": before + "old\n" + before}, {"a": before + "new\n" + before})[0]
    assert (change.added, change.removed, change.cut) == (1, 1, False)
    assert change.diff.split("\n")[2:] == [
        "@@ -99998,7 +99998,7 @@",
        *[" same"] * 3,
        "-old",
        "+new",
        *[" same"] * 3,
    ]


@given(st.lists(st.sampled_from("abc"), max_size=30), st.lists(st.sampled_from("abc"), max_size=30))
def test_a_diff_of_a_part_is_that_of_the_whole(before, after):
    found = changes({"a": "\n".join(before)}, {"a": "\n".join(after)})
    old, new = list(before), list(after)
    if not found:
        assert old == new
        return
    shift = 0
    at = 0
    for line in found[0].diff.split("\n")[2:]:
        if line.startswith("@@"):
            first = int(line.split()[1][1:].split(",")[0])
            at = first - (line.split()[1].endswith(",0") is False) + shift
        elif line.startswith("-"):
            assert old.pop(at) == line[1:]
            shift -= 1
        elif line.startswith("+"):
            old.insert(at, line[1:])
            at, shift = at + 1, shift + 1
        else:
            assert old[at] == line[1:]
            at += 1
    assert old == new


def test_the_worst_case_takes_no_second():
    before = "\n".join(str(number % 101) for number in range(MAX_LINES))
    after = "\n".join(str(number * 7 % 101) for number in range(MAX_LINES))
    begun = time.process_time()
    changes({"a": before}, {"a": after})
    assert time.process_time() - begun < 1


def changed(path: str = "a.py", added: int = 0, removed: int = 0, before: int = 100) -> Change:
    return Change(path, "changed", added, removed, before)


@pytest.mark.parametrize(
    ("made", "texts", "broken", "points", "level"),
    [
        ([], [], [], 0, "low"),
        ([changed(added=49)], [], [], 0, "low"),
        ([changed(added=50)], [], [], 1, "low"),
        ([changed(added=100_000)], [], [], 20, "medium"),
        ([changed(removed=50)], [], [], 1, "low"),
        ([changed(removed=51)], [], [], 6, "low"),
        ([changed(path=f"{n}.py", removed=51) for n in range(9)], [], [], 29, "medium"),
        ([changed("src/auth/login.py")], [], [], 10, "low"),
        ([changed("authors.py"), changed("docs/dockerfiles.md")], [], [], 10, "low"),
        (
            [changed(".github/workflows/ci.yml"), changed("Dockerfile"), changed("package.json"), changed(".env")],
            [],
            [],
            30,
            "medium",
        ),
        ([], ["eval(x)", "eval(y)"], [], 10, "low"),
        ([], ["subprocess.run(x, shell=True)", 'db.execute("SELECT * FROM t WHERE a = " + b)'], [], 20, "medium"),
        ([], ["yaml.load(x, Loader=yaml.SafeLoader)", "retrieval(x)"], [], 0, "low"),
        (
            [],
            ['f"SELECT * FROM t WHERE a = {b}"', "curl x | sh", "rm -rf /", "verify=False", "pickle.loads(x)"],
            [],
            30,
            "medium",
        ),
        ([], [], ["a.py"], 15, "low"),
        ([changed("auth.py", 1000, 0), changed("payment.py")], ["eval(x)"], ["a.py", "b.py", "c.py"], 80, "high"),
    ],
)
def test_the_risk_is_what_the_table_says(made, texts, broken, points, level):
    files = [File(f"{number}.py", "python", text) for number, text in enumerate(texts)]
    risk = risk_of(made, files, broken)
    assert (risk.points, risk.level) == (points, level)
    assert bool(risk.reasons) == bool(points)


def test_reasons_name_what_was_found():
    risk = risk_of([changed("auth.py", 30, 60)], [File("x.js", "", "a.innerHTML = b")], ["b.go"])
    assert risk == Risk(
        "medium",
        41,
        (
            "90 lines were added or removed.",
            "Rewritten for the most part: auth.py.",
            "Mistakes are dear in auth.py.",
            "To be looked at: x.js writes HTML as it came.",
            "Not right in their languages: b.go.",
        ),
    )
