"""The closed set of errors: each can be told by its code, and told on from process to process."""

import pytest

from askonce.domain.errors import BY_CODE, AskonceError, InternalError, MethodNotAllowed, error_from_code

STATUSES = {400, 401, 403, 404, 405, 408, 409, 413, 415, 429, 500, 502, 503, 504}


def family(root: type[AskonceError]) -> list[type[AskonceError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in family(child))]


def test_codes_are_stable_words_and_statuses_are_those_of_the_contract() -> None:
    for code, kind in BY_CODE.items():
        assert code.replace("_", "").isalpha()
        assert code.islower()
        assert kind.status in STATUSES
        assert kind.title[0].isupper()
        assert not kind.title.endswith(".")


def test_no_two_errors_of_the_domain_share_a_code() -> None:
    ours = [kind for kind in family(AskonceError) if kind.__module__ == "askonce.domain.errors"]
    shared = [kind for kind in ours if BY_CODE[kind.code] is not kind]
    assert shared == [AskonceError]  # the root stands for what InternalError is named for


@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_an_error_survives_the_way_to_another_process(code: str) -> None:
    again = error_from_code(code, "A sentence.", 7)
    assert (again.message, again.retry_after_s) == ("A sentence.", 7)
    assert again.code == code or BY_CODE[code] is MethodNotAllowed


def test_a_code_of_a_newer_version_is_an_internal_error() -> None:
    assert isinstance(error_from_code("from_the_future", "A sentence.", None), InternalError)
