"""What models can do, as far as their names tell: the words of `capabilities` that are a model's and not a vendor's.

No list of models has these facts for all vendors, and names change every month, so families are matched, newest
members included. Sources: the vendors' pages of models (OpenAI, Anthropic, Google, xAI, Mistral, DeepSeek, Meta, Qwen).
A name that nothing matches has what its vendor's row says; the owner can say more (`capabilities` of a provider).
"""

import re
from functools import lru_cache

_CAN: tuple[tuple[re.Pattern[str], frozenset[str]], ...] = tuple(
    (re.compile(pattern), frozenset(words.split()))
    for pattern, words in (
        # Calling tools and keeping to a schema: every general family of the last two years.
        (
            r"gpt-(?:3\.5-turbo|4|5|[6-9]|oss)|chatgpt-4o|\bo[1-9]\b|claude|gemini|grok|mistral|ministral|magistral"
            r"|codestral|devstral|pixtral|deepseek|llama-?(?:3\.[1-9]|[4-9])|qwen-?(?:2\.5|[3-9])|qwq|command-(?:r|a)"
            r"|kimi|glm-|minimax|nova-",
            "tools json",
        ),
        (
            r"gpt-(?:4o|4\.1|4\.5|4-turbo|5|[6-9])|chatgpt-4o|\bo[13]\b(?!-mini)|\bo[4-9]\b|claude|gemini|grok-(?:[4-9]|2-v)"
            r"|pixtral|mistral-(?:medium|small|large)|llama-?(?:3\.2-(?:11|90)b|[4-9])|vision|-vl\b|-vl-|llava|gemma-?3"
            r"|nova-(?:lite|pro|premier)",
            "vision",
        ),
        (
            r"gpt-(?:5|[6-9]|oss)|\bo[1-9]\b|claude-(?:(?:opus|sonnet)-[4-9]|haiku-(?:4-5|4\.5|[5-9])|3-7|fable|mythos)"
            r"|gemini-(?:2\.5|[3-9])|grok-(?:3-mini|[4-9])|magistral|deepseek-(?:r\d|reasoner|v3\.[1-9]|v[4-9])|qwq"
            r"|qwen-?[3-9](?!.*coder)|kimi-k2-thinking|glm-4\.[5-9]|thinking|reasoning",
            "reasoning",
        ),
    )
)


# What models that make vectors are called. Sources: the same pages, and Ollama's library ("Embedding").
_VECTORS = re.compile(
    r"embed(?!ded)|(?:^|[/_-])(?:bge|gte|e5|all-minilm|all-mpnet|voyage|paraphrase|sentence-t5)(?![a-z])"
)


@lru_cache(maxsize=4096)  # the price table has some 1,500 names, all of which are looked at every second
def makes_vectors(model: str) -> bool:
    """Say whether a model's name tells that it makes embeddings, and therefore does not talk."""
    name = model.lower()
    return _VECTORS.search(name) is not None and "rerank" not in name


@lru_cache(maxsize=1024)
def abilities(model: str) -> frozenset[str]:
    """Return what a model's name tells of it."""
    name = model.lower()
    if makes_vectors(name):
        return frozenset(("embeddings",))
    return frozenset().union(*(words for pattern, words in _CAN if pattern.search(name)))
