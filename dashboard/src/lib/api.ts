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

/** Ask for JSON. Throws `Failed` with the server's own sentence. */
export async function ask<T>(method: string, path: string, body?: unknown): Promise<T> {
  const reply = await send(method, path, body);
  const told = reply.status === 204 ? null : await reply.json();
  return told as T;
}

async function send(method: string, path: string, body?: unknown, extra?: Record<string, string>): Promise<Response> {
  const headers: Record<string, string> = { Accept: "application/json", ...extra };
  if (csrf) headers["X-CSRF-Token"] = csrf;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let reply: Response;
  try {
    reply = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Failed(0, "unreachable", "The server cannot be reached. Is it running?");
  }
  if (!reply.ok) {
    const told = await reply.json().catch(() => ({}));
    throw new Failed(reply.status, told.code ?? "", told.message ?? `The server answered ${reply.status}.`);
  }
  return reply;
}

/** Log in with an API key, or go on with the session that the browser has. */
export async function logIn(key?: string): Promise<void> {
  if (key) {
    const reply = await fetch("/sessions", {
      method: "POST",
      headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
      body: "{}",
    });
    const told = await reply.json().catch(() => ({}));
    if (!reply.ok) throw new Failed(reply.status, told.code ?? "", told.message ?? "This key was not accepted.");
    csrf = told.csrfToken ?? "";
    return;
  }
  const told = await ask<{ csrfToken?: string }>("GET", "/sessions/current");
  csrf = told.csrfToken ?? "";
}

export interface Event {
  name: string;
  data: unknown;
}

/** Read a body of server-sent events piece by piece; pieces may end anywhere. */
export class EventReader {
  private rest = "";

  feed(text: string): Event[] {
    this.rest += text;
    const found: Event[] = [];
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
export async function* stream(path: string, body: unknown, signal: AbortSignal): AsyncGenerator<Event> {
  const headers: Record<string, string> = { "Content-Type": "application/json", Accept: "text/event-stream" };
  if (csrf) headers["X-CSRF-Token"] = csrf;
  const reply = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal });
  if (!reply.ok || !reply.body) {
    const told = await reply.json().catch(() => ({}));
    throw new Failed(reply.status, told.code ?? "", told.message ?? `The server answered ${reply.status}.`);
  }
  const events = new EventReader();
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield* events.feed(value);
  }
}

export interface Sums {
  requests: number;
  hits: number;
  coalesced: number;
  resumed: number;
  misses: number;
  failed: number;
  abandoned: number;
  rateLimited: number;
  overBudget: number;
  costNano: number;
  savedNano: number;
  savedExactNano: number;
  savedCoalescedNano: number;
  savedResumedNano: number;
  savedPromptCacheNano: number;
}
export interface Usage {
  from: number;
  to: number;
  rows: (Sums & { at: number })[];
  total: Sums;
}
export interface Spread {
  count: number;
  meanMs: number;
  p50Ms: number;
  p95Ms: number;
  p99Ms: number;
}
export interface Performance {
  doors: { door: string; cache: string; took: Spread }[];
  providers: { provider: string; model: string; took: Spread; firstToken: Spread }[];
}
export interface Line {
  at: number;
  tenant: string;
  key: string;
  door: string;
  requestId: string;
  traceId: string;
  provider: string;
  model: string;
  modelVersion: string;
  kind: string;
  stored: boolean;
  costNano: number;
  savedNano: number;
  promptTokens: number;
  completionTokens: number;
  cachedTokens: number;
  reasoningTokens: number;
  estimated: boolean;
  latencyMs: number;
  firstTokenMs: number;
  errorCode: string;
}
