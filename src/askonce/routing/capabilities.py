"""The words of `capabilities`: what a model must be able to do, and what it is wanted for.

Two kinds of words. Abilities are facts of a model, by which candidates are filtered. Purposes are kinds of work, for
which every chat model will do; mode `orchestrated` looks up in its table whom that work is for.
"""

from collections.abc import Iterable

from askonce.domain.call import Call, Priority
from askonce.domain.content import Image
from askonce.domain.errors import Detail, Invalid
from askonce.routing.resolve import nearest

LONG_CONTEXT_TOKENS = 200_000  # what `long-context` means: more than the 128,000 that are usual

ABILITIES: dict[str, str] = {
    "streaming": "sends its answer as it is made",
    "system": "takes instructions apart from the prompt",
    "seed": "can repeat itself",
    "stop": "ends before given texts",
    "tools": "calls tools",
    "json": "can be held to JSON",
    "vision": "sees pictures",
    "reasoning": "thinks before it answers",
    "long-context": f"reads {LONG_CONTEXT_TOKENS:,} tokens or more",
    "embeddings": "makes vectors of texts",
    "local": "runs on a machine of one's own",
}

# What each kind of work is best done by, unless `[routing.orchestrated]` says otherwise. Thinking ahead and judging are
# worth the best model; the bulk of writing is worth a good one; what is mechanical is worth the cheapest.
PURPOSES: dict[str, Priority] = {
    "plan": "quality",
    "scaffold": "speed",
    "build": "quality",
    "validate": "cost",
    "quality": "cost",
    "review": "quality",
    "code": "quality",
    "debug": "quality",
    "refactor": "quality",
    "test": "speed",
    "explain": "speed",
    "docs": "cost",
    "summarize": "cost",
    "translate": "cost",
    "chat": "speed",
}

# Other spellings of the same.
_SYNONYMS = {
    "stream": "streaming",
    "system-prompt": "system",
    "function-calling": "tools",
    "functions": "tools",
    "tool-use": "tools",
    "tool-calling": "tools",
    "json-mode": "json",
    "structured-output": "json",
    "structured-outputs": "json",
    "image": "vision",
    "images": "vision",
    "multimodal": "vision",
    "thinking": "reasoning",
    "planning": "plan",
    "coding": "code",
    "generate": "code",
    "code-generation": "code",
    "codegen": "code",
    "code-review": "review",
    "debugging": "debug",
    "refactoring": "refactor",
    "testing": "test",
    "tests": "test",
    "documentation": "docs",
    "analysis": "explain",
    "explanation": "explain",
    "summary": "summarize",
    "summarization": "summarize",
    "translation": "translate",
    "conversation": "chat",
    "long": "long-context",
    "self-hosted": "local",
}


def understood(words: Iterable[str]) -> tuple[str, ...]:
    """Return the words in their first spelling, in order. Raises `Invalid` that names every unknown one."""
    found, problems = [], []
    for word in words:
        plain = word.strip().lower().replace("_", "-").replace(" ", "-")
        plain = _SYNONYMS.get(plain, plain)
        if plain in ABILITIES or plain in PURPOSES:
            found.append(plain)
        else:
            problems.append(_unknown(plain[:60]))
    if problems:
        raise Invalid(
            f"The request is invalid: {'; '.join(f'{p.field} {p.problem}' for p in problems)}.", details=problems
        )
    return tuple(dict.fromkeys(found))


def purpose_of(words: Iterable[str]) -> str:
    """Return the first word that names a kind of work, "" without any."""
    return next((word for word in words if word in PURPOSES), "")


def needed(call: Call, words: Iterable[str]) -> frozenset[str]:
    """Return the abilities that are asked for, and those without which the call itself makes no sense."""
    needs = {word for word in words if word in ABILITIES}
    if call.tools:
        needs.add("tools")
    if call.params.format is not None and call.params.format.kind != "text":
        needs.add("json")
    if any(isinstance(part, Image) for m in call.messages if not isinstance(m.content, str) for part in m.content):
        needs.add("vision")
    return frozenset(needs)


def _unknown(word: str) -> Detail:
    near = nearest(word, [*ABILITIES, *PURPOSES])
    hint = f" (did you mean {near}?)" if near else f" (known are {', '.join([*ABILITIES, *PURPOSES])})"
    return Detail("capabilities", f"does not know {word!r}{hint}")
