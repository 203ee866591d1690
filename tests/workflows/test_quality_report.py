"""The score is what its formula says, and a report is bounded and in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.workflows.quality.report import MAX_FINDINGS, Checked, Finding, Severity, State, make_report, score_of

SEVERITIES: dict[str, Severity] = {"e": "error", "w": "warning", "n": "note"}
STATES: dict[str, State] = {"p": "parsed", "d": "doubtful", "b": "broken", "u": "unchecked"}


def files(states: str) -> list[Checked]:
    return [Checked(f"{number}.py", "python", STATES[state]) for number, state in enumerate(states)]


def findings(path: str, severities: str) -> list[Finding]:
    return [Finding(path, line, 1, "x", SEVERITIES[one], "m") for line, one in enumerate(severities, 1)]


@pytest.mark.parametrize(
    ("states", "of_first", "score"),
    [
        ("", "", -1),
        ("u", "", -1),
        ("uu", "ee", -1),
        ("p", "", 100),
        ("pu", "", 100),
        ("p", "n", 99),
        ("p", "w", 97),
        ("p", "e", 90),
        ("p", "ewn", 86),
        ("p", "e" * 10, 0),
        ("p", "e" * 11, 0),
        ("pp", "e", 95),
        ("pp", "n", 99),  # 99.5
        ("d", "ww", 94),
        ("b", "", 0),
        ("b", "e", 0),
        ("bp", "", 49),
        ("bpppppppppp", "", 49),
        ("bbp", "", 33),
    ],
)
def test_the_score_is_the_mean_of_the_checked_files(states, of_first, score):
    assert score_of(files(states), findings("0.py", of_first)) == score


def test_findings_are_ordered_and_errors_are_kept_before_the_rest():
    many = findings("0.py", "n" * MAX_FINDINGS + "e" + "w")
    report = make_report(files("p"), reversed(many))
    assert len(report.findings) == MAX_FINDINGS
    assert report.omitted == 2
    assert [finding.line for finding in report.findings] == [
        *range(1, MAX_FINDINGS - 1),
        MAX_FINDINGS + 1,
        MAX_FINDINGS + 2,
    ]


@given(st.permutations(findings("0.py", "ewnwe") + findings("1.py", "ee")), st.permutations(files("pbu")))
def test_the_order_of_what_comes_makes_no_difference(found, checked):
    assert make_report(checked, found) == make_report(files("pbu"), findings("0.py", "ewnwe") + findings("1.py", "ee"))


def test_the_broken_files_are_named():
    assert make_report(files("pbub"), ()).broken == ("1.py", "3.py")
