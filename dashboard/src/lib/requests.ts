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
  story?: Story | null;
}
export interface Story {
  mode: string;
  cacheKey?: string;
  attempt?: number;
  followers?: number;
  stages?: { stage: string; tookMs: number }[];
  considered?: { provider: string; model: string; score?: number; skipped?: string }[];
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

export interface Bar {
  stage: string;
  tookMs: number;
  from: number;
  wide: number;
}

/** Lay stages end to end: where each begins and how wide it is, in per cent of all. */
export function bars(stages: readonly { stage: string; tookMs: number }[]): Bar[] {
  const whole = stages.reduce((sum, one) => sum + one.tookMs, 0) || 1;
  let before = 0;
  return stages.map((one) => {
    const bar = { ...one, from: (100 * before) / whole, wide: (100 * one.tookMs) / whole };
    before += one.tookMs;
    return bar;
  });
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
