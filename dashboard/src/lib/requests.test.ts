import { expect, test } from "vitest";
import { bars, merged, promptOf, tone, type Line } from "./requests";

const line = (requestId: string, at: number): Line => ({
  id: `1.${at}`, at, requestId, tenant: "", key: "", user: "", door: "generate", traceId: "", provider: "p", model: "m", modelVersion: "",
  kind: "answered", stored: true, costNano: 0, savedNano: 0, savedPromptCacheNano: 0, promptTokens: 0, completionTokens: 0,
  cachedTokens: 0, cacheWriteTokens: 0, reasoningTokens: 0, estimated: false, latencyMs: 0, firstTokenMs: 0, errorCode: "",
});

test("what came stands in front, nothing stands twice, and the oldest go", () => {
  const there = [line("b", 2), line("a", 1)];
  expect(merged([line("b", 2), line("c", 3)], there, 9).map((one) => one.requestId)).toEqual(["c", "b", "a"]);
  expect(merged([line("c", 3)], there, 2).map((one) => one.requestId)).toEqual(["c", "b"]);
});

test("a prompt is found in each dialect", () => {
  expect(promptOf('{"prompt": "a"}')).toBe("a");
  expect(promptOf('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]}')).toBe("c");
  expect(promptOf('{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}]}]}')).toBe("a");
  expect(promptOf('{"prompt": "cut')).toBe("");
});

test("kinds have tones", () => {
  expect(["exact", "failed", "rate_limited", "answered"].map(tone)).toEqual(["good", "bad", "wait", ""]);
});

test("stages stand end to end", () => {
  expect(bars([{ stage: "a", tookMs: 1 }, { stage: "b", tookMs: 3 }]).map((bar) => [bar.from, bar.wide])).toEqual([[0, 25], [25, 75]]);
  expect(bars([{ stage: "a", tookMs: 0 }])[0]?.wide).toBe(0);
});
