"""How long a caller waits: `wait` in the body, `Prefer` in the headers, and what of that was applied."""

import pytest

from askonce.api.workflows.preferences import LONGEST_S, read_patience
from askonce.domain.errors import Invalid


@pytest.mark.parametrize(
    ("body", "header", "default", "seconds", "applied"),
    [
        (None, None, False, 0, ""),
        (None, None, True, LONGEST_S, ""),
        (True, None, False, LONGEST_S, ""),
        (False, None, True, 0, ""),
        (None, "wait=30", False, 30, "wait=30"),
        (True, "wait=30", False, 30, "wait=30"),
        (False, "wait=30", True, 0, ""),
        (None, "wait=0", True, 0, "wait=0"),
        (None, "wait=99999", True, LONGEST_S, f"wait={LONGEST_S}"),
        (None, 'WAIT = "5" ; x=y', True, 5, "wait=5"),
        (None, "respond-async", True, 0, "respond-async"),
        (None, "respond-async, wait=10", False, 10, "wait=10"),
        (True, "respond-async", False, LONGEST_S, ""),
        (None, "wait=5, wait=9", False, 5, "wait=5"),
        (None, "return=minimal, handling=lenient,,", True, LONGEST_S, ""),
    ],
)
def test_the_body_wins_and_what_was_applied_is_told(
    body: bool | None, header: str | None, default: bool, seconds: int, applied: str
) -> None:
    patience = read_patience(body, header, default)
    assert patience.seconds == seconds
    assert patience.applied == ([(b"preference-applied", applied.encode())] if applied else [])


@pytest.mark.parametrize("header", ["wait=soon", "wait=-1", "wait", "wait=1.5", "wait=9999999999"])
def test_a_wait_of_no_number_is_refused(header: str) -> None:
    with pytest.raises(Invalid):
        read_patience(None, header, True)
