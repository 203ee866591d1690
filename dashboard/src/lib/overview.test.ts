import { expect, test } from "vitest";
import { saved, shares, type Sums } from "./overview";

const NONE: Sums = {
  hits: 0, coalesced: 0, resumed: 0, misses: 0, uncounted: 0, failed: 0, abandoned: 0, limited: 0, refused: 0,
  costNano: 0, savedNano: 0, savedExactNano: 0, savedCoalescedNano: 0, savedResumedNano: 0, savedPromptCacheNano: 0,
};

test("savings are told by how they came about", () => {
  const sums = { ...NONE, savedNano: 300, savedExactNano: 100, savedCoalescedNano: 200, savedPromptCacheNano: 100 };
  expect(saved(sums)).toBe(400);
  expect(shares(sums).map((share) => [share.name, share.percent])).toEqual([
    ["joined in flight", 50],
    ["answered before", 25],
    ["vendor's prompt cache", 25],
  ]);
});

test("where nothing was saved there are no shares", () => {
  expect(shares(NONE)).toEqual([]);
});
