// The server as the pages see it: JSON, one kind of error, and server-sent events of a POST.

export class Failed extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

let csrf = "";
const KEYED = "keyed"; // what is left in the browser once somebody logged in here

/** Say whether this server asks who one is, as far as this browser knows. */
export const isKeyed = (): boolean => localStorage.getItem(KEYED) === "yes";

/** Ask for JSON. Throws `Failed` with the server's own sentence. */
export async function ask<T>(method: string, path: string, body?: unknown): Promise<T> {
  const reply = await send(method, path, "application/json", body);
  return (reply.status === 204 ? null : await reply.json()) as T;
}

/**
 * Send, and return what is no error. What a session's page writes needs its CSRF word, which is asked for when the server
 * misses it: a server without keys knows no sessions, and one that is only looked at needs no word.
 */
async function send(method: string, path: string, accept: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  if (method !== "GET" && !csrf && isKeyed()) await word();
  let reply = await once(method, path, accept, body, signal);
  if (reply.status === 403 && method !== "GET" && (await word())) reply = await once(method, path, accept, body, signal);
  if (reply.ok) return reply;
  const told = await reply.json().catch(() => ({}));
  if (reply.status === 401) {
    localStorage.setItem(KEYED, "yes");
    dispatchEvent(new Event("askonce:out"));
  }
  throw new Failed(reply.status, told.code ?? "", told.message ?? `The server answered ${reply.status}.`);
}

async function once(method: string, path: string, accept: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = { Accept: accept };
  if (csrf) headers["X-CSRF-Token"] = csrf;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    return await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Failed(0, "unreachable", "The server cannot be reached. Is it running?");
  }
}

/** Fetch the session's CSRF word; say whether it is another one than was sent. */
async function word(): Promise<boolean> {
  const reply = await fetch("/sessions/current", { headers: { Accept: "application/json" } });
  const told = reply.ok ? ((await reply.json()) as { csrfToken?: string }) : {};
  const is_new = !!told.csrfToken && told.csrfToken !== csrf;
  csrf = told.csrfToken ?? csrf;
  return is_new;
}

/** Log in: an API key opens a session of this browser. */
export async function logIn(key: string): Promise<void> {
  const reply = await fetch("/sessions", {
    method: "POST",
    headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
    body: "{}",
  });
  const told = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Failed(reply.status, told.code ?? "", told.message ?? "This key was not accepted.");
  csrf = told.csrfToken ?? "";
  localStorage.setItem(KEYED, "yes");
}

/** Log out: the session ends on the server too. */
export async function logOut(): Promise<void> {
  await ask("DELETE", "/sessions/current");
  csrf = "";
  localStorage.removeItem(KEYED);
}

export interface Told {
  name: string;
  data: unknown;
}

/** Read a body of server-sent events piece by piece; pieces may end anywhere. */
export class EventReader {
  private rest = "";

  feed(text: string): Told[] {
    this.rest += text;
    const found: Told[] = [];
    let end: number;
    while ((end = this.rest.indexOf("\n\n")) >= 0) {
      const block = this.rest.slice(0, end);
      this.rest = this.rest.slice(end + 2);
      let name = "message";
      const data: string[] = [];
      for (const line of block.split("\n")) {
        if (line.startsWith("event:")) name = line.slice(6).trim();
        if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
      }
      if (data.length) found.push({ name, data: JSON.parse(data.join("\n")) });
    }
    return found;
  }
}

/** POST and yield the events of the answer. */
export async function* stream(path: string, body: unknown, signal: AbortSignal): AsyncGenerator<Told> {
  const reply = await send("POST", path, "text/event-stream", body, signal);
  if (!reply.body) return;
  const events = new EventReader();
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield* events.feed(value);
  }
}

export interface File {
  path: string;
  language: string;
  content: string;
}
