// What GET /admin/overview tells, and what is read out of it. Money is nano-dollars, times are milliseconds.

export const RANGES = ["15m", "1h", "6h", "24h", "7d", "30d", "90d", "1y"] as const;
export type Range = (typeof RANGES)[number];

export interface Sums {
  hits: number;
  coalesced: number;
  resumed: number;
  misses: number;
  uncounted: number;
  failed: number;
  abandoned: number;
  limited: number;
  refused: number;
  costNano: number;
  savedNano: number;
  savedExactNano: number;
  savedCoalescedNano: number;
  savedResumedNano: number;
  savedPromptCacheNano: number;
}
export interface Total extends Sums {
  requests: number;
  hitRate: number;
}
export interface Spread {
  count: number;
  p50Ms: number;
  p95Ms: number;
  p99Ms: number;
}
export interface Latency {
  hit: Spread;
  miss: Spread;
  firstToken: Spread;
}
export interface Overview {
  range: Range;
  startMs: number;
  endMs: number;
  stepMs: number;
  points: (Sums & { atMs: number })[];
  total: Total;
  before: Total | null;
  latency: Latency;
  latencyBefore: Latency | null;
  projectedMonthlySavingNano: number | null;
  advice: string;
  models: { provider: string; model: string; requests: number; costNano: number; savedNano: number }[];
}

/** Everything that was not paid, the vendors' own rebate for repeated prompts included. */
export const saved = (sums: Sums): number => sums.savedNano + sums.savedPromptCacheNano;

export interface Share {
  name: string;
  colour: string;
  nano: number;
  percent: number;
}

/** How the savings came about, the greatest first; kinds that saved nothing are left out. */
export function shares(sums: Sums): Share[] {
  const all = saved(sums);
  return [
    { name: "answered before", colour: "--accent", nano: sums.savedExactNano },
    { name: "joined in flight", colour: "--joined", nano: sums.savedCoalescedNano },
    { name: "workflow steps kept", colour: "--resumed", nano: sums.savedResumedNano },
    { name: "vendor's prompt cache", colour: "--spent", nano: sums.savedPromptCacheNano },
  ]
    .filter((share) => share.nano > 0)
    .map((share) => ({ ...share, percent: (100 * share.nano) / all }))
    .sort((a, b) => b.nano - a.nano);
}
