import { expect, test } from "vitest";
import { change, count, money, span } from "./words";

test.each([
  [0, "$0.00"],
  [1_262_500, "$0.001263"],
  [52_500_000, "$0.053"],
  [1_234_560_000_000, "$1,234.56"],
  [-1_500_000_000, "-$1.50"],
])("%d nano-dollars are %s", (nano, said) => expect(money(nano)).toBe(said));

test.each([
  [0.25, "250 µs"],
  [1.26, "1.3 ms"],
  [812, "812 ms"],
  [12_340, "12.3 s"],
  [300_000, "5 min"],
])("%d ms are %s", (ms, said) => expect(span(ms)).toBe(said));

test("thousands stand apart, and changes say their sign", () => {
  expect(count(1234567)).toBe("1,234,567");
  expect([change(110, 100), change(90, 100), change(5, 0)]).toEqual(["+10 %", "-10 %", ""]);
});
