"""The page behind a login link. Looking at it uses nothing up: who made a preview of the link is not who presses."""

import base64
import hashlib
import html

from askonce.api.errands import Errand, Handler
from askonce.api.replies import NO_STORE, Headers, Reply

HTML = (b"content-type", b"text/html; charset=utf-8")

_STYLE = """:root{color-scheme:light dark}
body{font:16px/1.55 system-ui,sans-serif;max-width:28rem;margin:12vh auto;padding:0 1rem}
button,a.button{font:inherit;padding:.5rem 1rem;margin:.25rem .5rem .25rem 0;display:inline-block}
dt{opacity:.7}dd{margin:0 0 .5rem}[hidden]{display:none}"""

_SCRIPT = """
const at = id => document.getElementById(id);
const word = new URLSearchParams(location.search).get("word") || "";
history.replaceState(null, "", location.pathname);
let csrf = "";
function show(session) {
  csrf = session.csrfToken; localStorage.setItem("keyed", "yes");
  at("out").hidden = true; at("in").hidden = false; at("trouble").textContent = "";
  at("who").textContent = session.userId; at("tenant").textContent = session.tenant;
  at("scopes").textContent = session.scopes.join(", ");
  at("until").textContent = new Date(session.expiresAt).toLocaleString();
}
async function call(method, path, body) {
  const headers = {"Accept": "application/json", "X-CSRF-Token": csrf};
  if (body) headers["Content-Type"] = "application/json";
  const reply = await fetch(path, {method, headers, body: body && JSON.stringify(body)});
  const told = await reply.json();
  if (!reply.ok) throw new Error(told.message);
  return told;
}
function trouble(error) { at("trouble").textContent = error.message; }
at("enter").hidden = !word;
at("enter").onclick = () => call("POST", "/sessions", {word}).then(show, trouble);
at("leave").onclick = () => call("DELETE", "/sessions/current").then(() => location.reload(), trouble);
call("GET", "/sessions/current").then(show, () => { at("none").hidden = !!word; });
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex"><title>Askonce: log in</title><style>{style}</style></head><body>
<h1>Askonce</h1>
<div id="out"><p id="none" hidden>Ask an administrator for a login link (<code>askonce users link</code>).</p>
<button id="enter" hidden autofocus>Log in</button>{elsewhere}
<noscript><p>This page needs JavaScript to send the link's word.</p></noscript></div>
<div id="in" hidden><p>You are logged in.</p>
<dl><dt>User</dt><dd id="who"></dd><dt>Tenant</dt><dd id="tenant"></dd><dt>May</dt><dd id="scopes"></dd>
<dt>Until (prolonged by use)</dt><dd id="until"></dd></dl><a class="button" href="/ui/">To the dashboard</a>
<button id="leave">Log out</button></div>
<p id="trouble" role="alert"></p>
<script>{script}</script></body></html>
"""


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


# Only the script and the style that stand in the page, by their hashes; the page is in nobody's frame.
POLICY = (
    b"content-security-policy",
    (
        f"default-src 'none'; script-src 'sha256-{_hash(_SCRIPT)}'; style-src 'sha256-{_hash(_STYLE)}'; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ).encode(),
)
PAGE_HEADERS: Headers = [HTML, POLICY, NO_STORE]


def login_handlers(issuer: str) -> dict[str, Handler]:
    """Return the page's handler. `issuer` is the identity provider's address, "" without one."""
    elsewhere = f'<a class="button" href="/login/oidc">Log in with {html.escape(_name(issuer))}</a>' if issuer else ""
    page = _PAGE.format(style=_STYLE, script=_SCRIPT, elsewhere=elsewhere).encode()

    async def login_page(errand: Errand) -> Reply:
        return Reply(200, list(PAGE_HEADERS), page)

    return {"login_page": login_page}


def _name(issuer: str) -> str:
    return issuer.partition("://")[2].partition("/")[0]
