import pytest

from askonce.providers.abilities import abilities


@pytest.mark.parametrize(
    ("model", "can"),
    [
        ("gpt-4o-2024-08-06", "tools json vision"),
        ("gpt-5-mini", "tools json vision reasoning"),
        ("openai/gpt-oss-120b", "tools json reasoning"),
        ("o3-mini", "tools json reasoning"),
        ("o4-mini", "tools json vision reasoning"),
        ("claude-haiku-4-5", "tools json vision reasoning"),
        ("claude-3-5-sonnet-20241022", "tools json vision"),
        ("gemini-3.5-flash", "tools json vision reasoning"),
        ("codestral-latest", "tools json"),
        ("deepseek-v4-flash", "tools json reasoning"),
        ("llama3.2:1b", "tools json"),
        ("qwen2.5-coder", "tools json"),
        ("qwen3-coder", "tools json"),
        ("my-own-model", ""),
    ],
)
def test_a_models_family_tells_what_it_can(model: str, can: str) -> None:
    assert abilities(model) == frozenset(can.split())
