"""What is asked and answered: a request of about 200 bytes and an answer of about 1 kB on the wire."""

import json

CODE = "```python src/dates.py\n" + "".join(f"value_{n:02d} = parse({n})\n" for n in range(17)) + "```\n"
_WORDS = "Write a Python function that parses an ISO 8601 date and returns a datetime in UTC. Be careful, be brief."


def body(number: str = "", model: str = "scripted:demo", *, stream: bool = False) -> str:
    """Write a request for /llm/generate; different numbers make different questions."""
    fields: dict[str, object] = {"prompt": f"{_WORDS} Nr {number or 1}", "model": model, "temperature": 0.2}
    return json.dumps({**fields, "maxTokens": 400, **({"stream": True} if stream else {})})


def chat(number: str = "", model: str = "openai:gpt-4o", *, stream: bool = False) -> str:
    """Write the same request for /v1/chat/completions."""
    messages = [{"role": "user", "content": f"{_WORDS} Nr {number or 1}"}]
    fields: dict[str, object] = {"model": model, "messages": messages, "temperature": 0.2}
    return json.dumps({**fields, "max_tokens": 400, **({"stream": True} if stream else {})})
