import pytest

from askonce.providers.abilities import abilities, makes_vectors


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


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("text-embedding-3-small", True),
        ("gemini-embedding-001", True),
        ("mistral-embed", True),
        ("codestral-embed-2505", True),
        ("nomic-embed-text:latest", True),
        ("all-minilm", True),
        ("bge-m3", True),
        ("BAAI/bge-large-en-v1.5", True),
        ("intfloat/e5-mistral-7b-instruct", True),
        ("sentence-transformers/all-MiniLM-L6-v2", True),
        ("bge-reranker-v2-m3", False),
        ("embedded-coder", False),
        ("gpt-4o", False),
        ("gemini-3.5-flash", False),
        ("gemma-e5b", False),
    ],
)
def test_a_models_name_tells_whether_it_makes_embeddings(model: str, expected: bool) -> None:
    assert makes_vectors(model) is expected
    assert ("embeddings" in abilities(model)) is expected
