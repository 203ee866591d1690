"""An answer is an opinion only if it is exactly that; else the opinion is absent, and never an approval."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.wire.fences import File
from askonce.workflows.review.opinion import FORMAT, MAX_CHARS, Absent, Issue, Opinion, read_opinion
from askonce.workflows.review.report import Review, make_review
from askonce.workflows.review.risk import Risk

GOOD = {"verdict": "approve", "summary": "Fine.", "issues": []}
BAD = {
    "verdict": "changes",
    "summary": "Two things.",
    "issues": [{"file": "a.py", "line": 3, "severity": "error", "message": "x is not there"}],
}
APPROVED = Opinion("approve", "Fine.", ())
CHANGES = Opinion("changes", "Two things.", (Issue("error", "x is not there", "a.py", 3),))
LOW = Risk("low", 0, ())


def told(**changed: object) -> str:
    return json.dumps({**GOOD, **changed})


@pytest.mark.parametrize(
    ("text", "opinion"),
    [
        (told(), APPROVED),
        (json.dumps(BAD), CHANGES),
        (f"```json\n{json.dumps(BAD, indent=2)}\n```", CHANGES),
        (f"Here is my review:\n\n```\n{told()}\n```\nBye {{}}.", APPROVED),
        (f"Sure! {told()} Hope that helps.", APPROVED),
        (f"<think>Perhaps {told(verdict='reject')}?</think>\n{told()}", APPROVED),
        (f"In `f() {{` all is well. {told()}", APPROVED),
        (told() + told(), APPROVED),
        (told(verdict=" Approve "), APPROVED),
        (told(more=1), APPROVED),
        (told(issues=[{"severity": "Error", "message": "m"}]), Opinion("approve", "Fine.", (Issue("error", "m"),))),
        (
            told(issues=[{"severity": "note", "message": "m", "file": "./a.py", "line": "7"}]),
            Opinion("approve", "Fine.", (Issue("note", "m", "a.py", 7),)),
        ),
        (
            told(issues=[{"severity": "note", "message": "m", "file": None, "line": None}]),
            Opinion("approve", "Fine.", (Issue("note", "m"),)),
        ),
    ],
)
def test_what_is_an_opinion_is_read(text, opinion):
    assert read_opinion(text) == opinion


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("I approve.", "no JSON object"),
        ("LGTM! verdict: approve", "no JSON object"),
        ("[]", "no JSON object"),
        ('"approve"', "no JSON object"),
        ("{}", "no JSON object"),
        (told()[:-1], "no JSON object"),
        ("{" * 100_000, "no JSON object"),
        ('{"a":' * 5000, "no JSON object"),
        ("x" * (MAX_CHARS + 1), "too long"),
        (told(verdict="approved"), "form"),
        (told(verdict=True), "form"),
        (told(verdict=None), "form"),
        (told(verdict=["approve"]), "form"),
        (json.dumps({"verdict": "approve", "summary": "x"}), "form"),
        (json.dumps({"verdict": "approve", "issues": []}), "form"),
        (told(summary=1), "form"),
        (told(summary=" "), "no reasons"),
        (told(issues={}), "form"),
        (told(issues=["x"]), "form"),
        (told(issues=[{"message": "m"}]), "form"),
        (told(issues=[{"severity": "bad", "message": "m"}]), "form"),
        (told(issues=[{"severity": "error", "message": "m", "line": -1}]), "form"),
        (told(issues=[{"severity": "error", "message": "m", "line": "x"}]), "form"),
        (told() + told(verdict="reject"), "contradict"),
        (told() + '{"verdict": "no"}', "form"),
        ('{"verdict": "reject", "verdict": "approve", "summary": "x", "issues": []}', "no JSON object"),
        (f"<think>{told()}</think>", "no JSON object"),
        (f"<think>{told()}</think>I cannot say.", "no JSON object"),
    ],
)
def test_what_is_none_is_absent_with_the_reason(text, reason):
    found = read_opinion(text)
    assert isinstance(found, Absent)
    assert reason in found.reason
    assert found.reason.endswith(".")


@given(
    st.text()
    | st.recursive(
        st.none() | st.booleans() | st.text() | st.integers(),
        lambda some: st.lists(some) | st.dictionaries(st.sampled_from(["verdict", "summary", "issues", "x"]), some),
    ).map(json.dumps)
)
def test_whatever_comes_is_read_and_never_approved_by_accident(text):
    found = read_opinion(text)
    assert isinstance(found, Absent) or found.verdict in text.lower()


def test_the_schema_is_strict_and_what_it_asks_for_is_an_opinion():
    schema = msgspec.json.decode(FORMAT.schema)
    assert schema["additionalProperties"] is False
    assert sorted(schema["required"]) == sorted(schema["properties"]) == ["issues", "summary", "verdict"]
    issue = schema["properties"]["issues"]["items"]
    assert sorted(issue["required"]) == sorted(issue["properties"])
    assert read_opinion(json.dumps(BAD)) == CHANGES


def test_an_absent_opinion_is_no_approval():
    review = make_review(Absent("The provider is away."), LOW, (), ())
    assert (review.verdict, review.reason) == ("absent", "The provider is away.")
    assert msgspec.json.decode(msgspec.json.encode(review), type=Review) == review


def test_issues_stand_only_where_there_is_something():
    files = [File("src/a.py", "python", "1\n2\n"), File("b.py", "python", "1\n")]
    issues = (
        Issue("error", "m", "src/a.py", 2),
        Issue("error", "m", "src/a.py", 3),
        Issue("error", "m", "a.py", 1),
        Issue("error", "m", "c.py", 1),
        Issue("error", "m", "", 9),
    )
    placed = make_review(Opinion("reject", "No.", issues), LOW, (), files).issues
    assert [(issue.file, issue.line) for issue in placed] == [
        ("src/a.py", 2),
        ("src/a.py", 0),
        ("src/a.py", 1),
        ("", 0),
        ("", 0),
    ]
    assert placed[3].message == "m (c.py, which is not among the files)"
