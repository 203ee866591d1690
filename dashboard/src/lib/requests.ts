// Requests one by one: what GET /admin/requests and its stream tell.

export interface Line {
  id: string;
  at: number;
  tenant: string;
  key: string;
  user: string;
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
  savedPromptCacheNano: number;
  promptTokens: number;
  completionTokens: number;
  cachedTokens: number;
  cacheWriteTokens: number;
  reasoningTokens: number;
  estimated: boolean;
  latencyMs: number;
  firstTokenMs: number;
  errorCode: string;
}
export interface Story {
  mode?: string;
  cacheKey?: string;
  stages?: { stage: string; tookMs: number }[];
  tried?: { provider: string; model: string; tookMs: number; error?: string }[];
}
export interface Text {
  at: number;
  provider: string;
  model: string;
  question: string;
  answer: string;
  cut: boolean;
}
export interface Detail {
  requestId: string;
  texts: Text[];
  stories?: (Story & { at: number })[];
}

export const KINDS = ["answered", "uncounted", "failed", "abandoned", "exact", "coalesced", "resumed", "rate_limited", "over_budget", "unauthorized", "forbidden", "refused"] as const;

const TONES: Record<string, string> = { exact: "good", coalesced: "good", resumed: "good", failed: "bad", rate_limited: "wait", over_budget: "wait", abandoned: "wait" };
/** The colour of a kind: good costs nothing, bad failed, wait was held back. */
export const tone = (kind: string): string => TONES[kind] ?? "";

/** Put what came in front of what is there; what is there already stays once. At most `most` lines are kept. */
export function merged(came: Line[], there: Line[], most: number): Line[] {
  const known = new Set<string>();
  return [...came, ...there]
    .sort((a, b) => b.at - a.at)
    .filter((line) => !known.has(line.id) && known.add(line.id))
    .slice(0, most);
}

/** Read the prompt out of a kept question (JSON): the last thing that the user said; "" where it cannot be told. */
export function promptOf(question: string): string {
  let told: unknown;
  try {
    told = JSON.parse(question);
  } catch {
    return "";
  }
  const one = told as { prompt?: unknown; messages?: { role?: string; content?: unknown }[] };
  if (typeof one.prompt === "string") return one.prompt;
  const said = one.messages?.filter((message) => message.role === "user").at(-1)?.content;
  if (typeof said === "string") return said;
  if (!Array.isArray(said)) return "";
  return said.map((part: { text?: unknown }) => (typeof part.text === "string" ? part.text : "")).join("");
}
