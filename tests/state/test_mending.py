"""What cannot be stored as it is, and what becomes of it."""

import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace

from askonce.domain.ledger import AuditRow, CallRow, Origin, Record, unpack_record
from askonce.state.mending import RECORD_BYTES_MAX, packed

CALL = CallRow(1, Origin("team"), "openai", "gpt-4o", "v", "answered", True, True, 5)
AUDIT = AuditRow(1, "system", "x.y", details=Raw(b'{"a":[1,2.50]}'))

CASES: list[tuple[Record, Record]] = [
    (CALL, CALL),
    (AUDIT, AUDIT),
    (replace(AUDIT, details=Raw(b"{}")), replace(AUDIT, details=Raw(b"{}"))),
    (replace(CALL, model="a\ud800b"), replace(CALL, model="a?b")),
    (replace(CALL, origin=Origin("te\udfff")), replace(CALL, origin=Origin("te?"))),
    (replace(CALL, cost_nano=2**63), replace(CALL, cost_nano=2**63 - 1)),
    (
        replace(CALL, prompt_tokens=10**40, cost_nano=-(10**40)),
        replace(CALL, prompt_tokens=2**63 - 1, cost_nano=1 - 2**63),
    ),
    (replace(AUDIT, subject="x" * 70_000), replace(AUDIT, subject="x" * 1_000)),
    (
        replace(AUDIT, details=Raw(msgspec.json.encode({"a": "x" * 70_000}))),
        replace(AUDIT, details=Raw(b'{"omittedBytes":70008}')),
    ),
]


@pytest.mark.parametrize(("given", "kept"), CASES)
def test_what_is_odd_is_made_to_fit_and_the_rest_is_kept_as_it_is(given: Record, kept: Record) -> None:
    written = packed(given)
    assert len(written) <= RECORD_BYTES_MAX
    assert unpack_record(written) == kept
