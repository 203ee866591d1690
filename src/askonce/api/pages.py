"""What describes the doors: /openapi.json for programs, /docs for people, made from the table at the first look.

Not at the start, which would be the slower for it; and in a thread, since others are waiting for their answers.
"""

import asyncio
import html
from functools import lru_cache
from typing import Any, Protocol

import msgspec

from askonce import __version__
from askonce.api.door import Door
from askonce.api.openapi import openapi
from askonce.api.replies import JSON, Reply
from askonce.api.requests import Request
from askonce.domain.errors import BY_CODE

_HTML = (b"content-type", b"text/html; charset=utf-8")
# The page has no script, and no asset but its own style.
_POLICY = (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")

_STYLE = """
:root{color-scheme:light dark;--line:color-mix(in srgb,currentColor 18%,transparent)}
body{font:16px/1.55 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:2rem 1rem}
h1{margin:0}h2{margin:2.5rem 0 .25rem;font-size:1.15rem}code,pre{font-family:ui-monospace,monospace;font-size:.92em}
pre{overflow-x:auto;padding:.75rem;border:1px solid var(--line);border-radius:.4rem}
.method{display:inline-block;min-width:4.2rem;font-weight:700}table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line)}
.quiet{opacity:.75}details{margin:.5rem 0}summary{cursor:pointer}
"""

_EXAMPLE = """curl -s http://%s/llm/generate \\
  -H 'Content-Type: application/json' \\
  -d '{"prompt": "a Python function that reverses a linked list"}'"""


UI = frozenset(("ui", "ui_page"))
PAGES = UI | {"openapi", "docs", "root", "ui_root"}  # the doors of this room


class Site(Protocol):
    """Serve the dashboard (`askonce.web`)."""

    @property
    def is_there(self) -> bool:
        """Say whether there is one."""
        ...

    def serve(self, request: Request, path: str) -> Reply:
        """Answer for a path below /ui/. Raises `NotFound`."""
        ...


class Pages:
    """Serve the descriptions."""

    def __init__(self, doors: tuple[Door, ...], address: str, site: Site) -> None:
        self._described = doors, address
        self._site = site

    async def serve(self, name: str, request: Request, key: str) -> Reply:
        """Return the page of an open door. Raises `NotFound`."""
        if name == "root":
            wanted = "text/html" in (request.text(b"accept") or "")
            return Reply(307, [(b"location", b"/ui/" if wanted and self._site.is_there else b"/docs")], b"")
        if name == "ui_root":
            return Reply(308, [(b"location", b"/ui/")], b"")
        if name in UI:
            return self._site.serve(request, key)
        document, page = await asyncio.to_thread(_pages, *self._described)
        return Reply(200, [JSON], document) if name == "openapi" else Reply(200, [_HTML, _POLICY], page)


@lru_cache(maxsize=1)
def _pages(doors: tuple[Door, ...], address: str) -> tuple[bytes, bytes]:
    document = openapi(doors)
    return msgspec.json.encode(document), docs_page(doors, document, address).encode()


def docs_page(doors: tuple[Door, ...], document: dict[str, Any], address: str) -> str:
    """Return the page for people: every door with its fields, replies and errors."""
    schemas = document["components"]["schemas"]
    sections = "\n".join(_section(door, document, schemas) for door in doors)
    codes = "\n".join(
        f"<tr><td>{kind.status}</td><td><code>{code}</code></td><td>{html.escape(kind.title)}</td></tr>"
        for code, kind in sorted(BY_CODE.items(), key=lambda item: (item[1].status, item[0]))
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>Askonce API</title><style>{_STYLE}</style></head><body>
<h1>Askonce API</h1>
<p class="quiet">Version {__version__}. No answer is paid for twice.
For programs: <a href="/openapi.json">openapi.json</a>.</p>
<pre>{html.escape(_EXAMPLE % address)}</pre>
<p>Where keys are configured, send one as <code>Authorization: Bearer …</code> or <code>x-api-key: …</code>.</p>
{sections}
<h2 id="errors">Error codes</h2>
<p>Every error is <code>{{"error", "message", "code", "requestId"}}</code>, with <code>retryAfter</code> (seconds) and
<code>details</code> (field, problem) where they help; the message names the cure.</p>
<table><tr><th>Status</th><th>Code</th><th>Meaning</th></tr>{codes}</table>
</body></html>
"""


def _section(door: Door, document: dict[str, Any], schemas: dict[str, Any]) -> str:
    operation = document["paths"][door.path][door.method.lower()]
    parts = [
        f'<h2 id="{door.name}"><span class="method">{door.method}</span> <code>{html.escape(door.path)}</code></h2>',
        f"<p>{html.escape(door.summary)} <span class='quiet'>{_guard(door)}</span></p>",
    ]
    if operation["parameters"]:
        fields = {p["name"]: p["schema"] | _description(p) for p in operation["parameters"]}
        parts.append(f"<details open><summary>Parameters</summary>{_table(fields, ())}</details>")
    if door.body is not None:
        parts.append(_fields("Body", _flat(schemas[door.body.__name__], schemas), is_open=True))
    if door.reply is not None:
        parts.append(_fields("Answer", _flat(schemas[door.reply.__name__], schemas), is_open=False))
    if door.stream:
        events = "".join(
            f"<tr><td><code>{name}</code></td><td>{html.escape(says)}</td></tr>" for name, says in door.stream
        )
        said = "Server-sent events, in this order:"
        parts.append(f"<details><summary>Stream</summary><p>{said}</p><table>{events}</table></details>")
    if door.errors:
        parts.append(f"<p class='quiet'>Errors: {', '.join(f'<code>{e}</code>' for e in door.errors)}</p>")
    return "\n".join(parts)


def _description(parameter: dict[str, Any]) -> dict[str, Any]:
    return {"description": parameter["description"]} if "description" in parameter else {}


def _flat(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Put the fields of nested objects beside their own, as `metadata.cost`; lists of objects as `files[].path`."""
    properties: dict[str, Any] = {}
    for name, field in schema.get("properties", {}).items():
        properties[name] = field
        for inner, suffix in _nested(field):
            for below, value in _flat(schemas[inner], schemas)["properties"].items():
                properties[f"{name}{suffix}.{below}"] = value
    return {"properties": properties, "required": schema.get("required", ())}


def _nested(field: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the objects that a field may hold, with `[]` where it holds a list of them."""
    found = []
    for choice in field.get("anyOf", [field]):
        items = choice.get("items")
        if "$ref" in choice:
            found.append((_kind(choice), ""))
        elif isinstance(items, dict) and "$ref" in items:
            found.append((_kind(items), "[]"))
    return found


def _guard(door: Door) -> str:
    limit = f"Counted in the window <code>{door.limit}</code>." if door.limit != "none" else "Not limited."
    return f"{_NEEDS.get(door.scope, f'Needs the scope <code>{door.scope}</code>.')} {limit}"


_NEEDS = {
    "open": "Open to everyone.",
    "any": "Needs a key or a session where there are keys.",
    "use": "Needs a key or a session with the scope <code>use</code> where there are keys.",
}


def _fields(title: str, schema: dict[str, Any], *, is_open: bool) -> str:
    table = _table(schema.get("properties", {}), schema.get("required", ()))
    return f"<details{' open' if is_open else ''}><summary>{title}</summary>{table}</details>"


def _table(properties: dict[str, Any], required: Any) -> str:
    rows = "".join(
        f"<tr><td><code>{html.escape(name)}</code></td><td>{'required' if name in required else ''}</td>"
        f"<td><code>{html.escape(_kind(schema))}</code></td><td>{html.escape(schema.get('description', ''))}</td></tr>"
        for name, schema in properties.items()
    )
    return f"<table>{rows}</table>"


def _kind(schema: dict[str, Any]) -> str:
    """Say a JSON schema in a few words."""
    if "$ref" in schema:
        return "object" if len(schema) > 1 else str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if "anyOf" in schema:
        kinds = dict.fromkeys(_kind(s) for s in schema["anyOf"] if s.get("type") != "null")
        # A whole number may be written 1 or 1.0: to people that is one kind.
        both = [kind for kind in kinds if kind.replace("integer", "number", 1) in kinds and kind.startswith("integer")]
        return " or ".join(kind for kind in kinds if not any(kind == k.replace("integer", "number", 1) for k in both))
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        items = schema.get("items")
        return f"list of {_kind(items)}" if isinstance(items, dict) else "list"
    bounds = [f"{word} {schema[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in schema]
    return " ".join([kind, *bounds])
