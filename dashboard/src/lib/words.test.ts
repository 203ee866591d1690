import { expect, test } from "vitest";
import { ago, change, count, money, plain, shortMoney, size, span, took } from "./words";

test("money keeps a cent's fraction", () => {
  expect(money(0)).toBe("$0.00");
  expect(money(123_000)).toBe("$0.000123");
  expect(money(45_600_000)).toBe("$0.046");
  expect(money(12_345_678_000_000)).toBe("$12,345.68");
  expect(money(-2e9)).toBe("-$2.00");
});

test("an axis is short", () => {
  expect(shortMoney(0)).toBe("$0");
  expect(shortMoney(1_500_000)).toBe("$0.0015");
  expect(shortMoney(2.5e9)).toBe("$2.5");
  expect(shortMoney(12_000e9)).toBe("$12k");
});

test("durations come in the unit that one reads", () => {
  expect([0.25, 2.345, 42.4, 1500, 120_000, 7_200_000, 300_000_000].map(span)).toEqual([
    "250 µs",
    "2.3 ms",
    "42 ms",
    "1.5 s",
    "2 min",
    "2 h",
    "3 days",
  ]);
  expect([0, 7, 900, 2_500].map(took)).toEqual(["< 1 ms", "7 ms", "900 ms", "2.5 s"]);
});

test("sizes are decimal", () => {
  expect([0, 999, 1000, 12_345, 5_000_000_000].map(size)).toEqual(["0 B", "999 B", "1.0 kB", "12 kB", "5.0 GB"]);
});

test("moments stand against now", () => {
  expect(ago(1_000, 31_000)).toBe("30 s ago");
  expect(ago(7_200_000, 0)).toBe("in 2 h");
});

test("a change needs something before", () => {
  expect(change(3, 0)).toBe("");
  expect(change(3, 2)).toBe("+50 %");
  expect(change(1, 2)).toBe("-50 %");
  expect(count(1234.4)).toBe("1,234");
});

test("keys are words", () => {
  expect(["firstTokenMs", "savedPromptCacheNano", "tenant"].map(plain)).toEqual(["first token", "saved prompt cache", "tenant"]);
});
