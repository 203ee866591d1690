"""What a seal covers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from tests.ledger.auditworld import FORMER, KEY, act

from askonce.domain.ledger import Anchor, AuditRow
from askonce.ledger.audit_chain import GENESIS, canonical, make_seal, read_anchor, write_anchor

words = st.text(max_size=6)
rows = st.builds(
    AuditRow,
    at_ms=st.integers(0, 10**15),
    actor=words,
    action=words,
    subject=words,
    tenant=words,
    address=words,
    request_id=words,
    severity=st.sampled_from(["info", "critical"]),
    details=st.binary(max_size=6).map(Raw),
)


def told(row: AuditRow) -> tuple[object, ...]:
    return (*(getattr(row, name) for name in AuditRow.__struct_fields__[:-1]), bytes(row.details))


@given(rows, rows, st.integers(1, 20), st.integers(1, 20), words, words)
def test_different_rows_never_give_the_same_bytes(
    one: AuditRow, other: AuditRow, number: int, another: int, key: str, lock: str
) -> None:
    same = (told(one), number, key) == (told(other), another, lock)
    assert (canonical(number, one, key) == canonical(another, other, lock)) is same


def test_a_seal_is_what_the_format_says() -> None:
    """A fixed example, so that a chain that was sealed by one version is sound for the next."""
    seal = make_seal(KEY, GENESIS, 1, act(1))
    assert seal.hex() == "98ce3ea865e8b1976c2fa495150b9ddb7f39ccfa92ab290b189186323cf262cc"
    assert make_seal(FORMER, GENESIS, 1, act(1)) != seal
    assert make_seal(KEY, seal, 1, act(1)) != seal
    assert make_seal(KEY, GENESIS, 2, act(1)) != seal


def test_an_anchor_is_read_as_it_was_written() -> None:
    anchor = Anchor(12, bytes(range(32)))
    assert read_anchor(write_anchor(anchor)) == anchor


@pytest.mark.parametrize("text", ["", "12", "12:", "12:00", "x:" + "0" * 64, "-1:" + "0" * 64, "1:" + "g" * 64])
def test_what_is_no_anchor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"anchor|hexadecimal"):
        read_anchor(text)
