"""The header by which the vendors' libraries know that trying again is no use."""

import pytest

from askonce.api.replies import error_reply
from askonce.domain.errors import (
    AskonceError,
    InternalError,
    ModelUnavailable,
    OverBudget,
    ProviderBusy,
    ProviderFailed,
    RateLimited,
)


@pytest.mark.parametrize(
    ("error", "no_use"),
    [
        (ModelUnavailable("x"), True),
        (InternalError("x"), True),
        (ModelUnavailable("x", retry_after_s=5), False),
        (ProviderFailed("x"), False),
        (ProviderBusy("x", retry_after_s=500), False),
        (RateLimited("x", retry_after_s=60), False),
        (OverBudget("x", retry_after_s=1), False),
        (OverBudget("x", retry_after_s=3_000), True),
    ],
)
def test_it_is_sent_where_nothing_changes_soon(error: AskonceError, no_use: bool) -> None:
    assert ((b"x-should-retry", b"false") in error_reply(error, b"{}").headers) is no_use
