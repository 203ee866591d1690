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

export interface Said {
  role: string;
  text: string;
}

/** Take the words out of what the ledger keeps of a message: text, or parts whose first word names their kind. */
function words(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  if (content[0] === "text" && typeof content[1] === "string") return content[1];
  if (typeof content[0] === "string") return `[${content[0]}]`;
  return content.map(words).join("");
}

/** Read a kept question (JSON): who said what, in order; nothing where it was cut, and cannot be read. */
export function conversation(question: string): Said[] {
  let told: { messages?: unknown };
  try {
    told = JSON.parse(question) as { messages?: unknown };
  } catch {
    return [];
  }
  const messages = Array.isArray(told.messages) ? told.messages : [];
  return messages.flatMap((one: unknown) => (Array.isArray(one) && typeof one[0] === "string" ? [{ role: one[0], text: words(one[1]) }] : []));
}

/** Read a kept answer (JSON); as it is where it was cut. */
export function answerText(answer: string): string {
  try {
    return words(JSON.parse(answer));
  } catch {
    return answer;
  }
}
