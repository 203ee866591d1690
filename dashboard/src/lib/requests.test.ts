import { expect, test } from "vitest";
import { answerText, bars, conversation, merged, tone, type Line } from "./requests";

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

test("a kept question is a conversation", () => {
  const question = JSON.stringify({ messages: [["system", "be short", ""], ["user", [["text", "look at"], ["image", "…"]], ""]], tools: [] });
  expect(conversation(question)).toEqual([
    { role: "system", text: "be short" },
    { role: "user", text: "look at[image]" },
  ]);
  expect(conversation('{"messages": [["us')).toEqual([]);
});

test("a kept answer is its words", () => {
  expect(answerText('[["text", "a"], ["text", "b"]]')).toBe("ab");
  expect(answerText('[["text", "cut')).toBe('[["text", "cut');
});

test("kinds have tones", () => {
  expect(["exact", "failed", "rate_limited", "answered"].map(tone)).toEqual(["good", "bad", "wait", ""]);
});

test("stages stand end to end", () => {
  expect(bars([{ stage: "a", tookMs: 1 }, { stage: "b", tookMs: 3 }]).map((bar) => [bar.from, bar.wide])).toEqual([[0, 25], [25, 75]]);
  expect(bars([{ stage: "a", tookMs: 0 }])[0]?.wide).toBe(0);
});
