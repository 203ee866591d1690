import { expect, test } from "vitest";
import { hasEnded, versions, type Execution, type Node } from "./executions";

const node = (id: string, content: string): Node => ({
  id, type: "build", status: "succeeded", dependsOn: [], attempts: 1, costNano: 0, savedNano: 0, startedAt: 0, endedAt: 0,
  files: [{ path: "a.py", language: "python", content }],
});
const execution: Execution = {
  id: "e", kind: "workflow", name: "", queue: "workflows", status: "succeeded", progress: 100, round: 1, createdAt: 0, startedAt: 0, endedAt: 0,
  totals: { totalTokens: 0, costNano: 0, savedNano: 0, cachedNodes: 0 }, files: [], nodes: [node("second", "2"), node("first", "1")],
  history: { "a.py": [{ node: "first", added: 1, removed: 0 }, { node: "second", added: 1, removed: 1 }] },
};

test("versions stand in the order of writing", () => {
  expect(versions(execution, "a.py").map((one) => one.content)).toEqual(["1", "2"]);
  expect(versions(execution, "b.py")).toEqual([]);
});

test("what waits or runs has not ended", () => {
  expect(["queued", "running", "succeeded", "failed", "cancelled"].map(hasEnded)).toEqual([false, false, true, true, true]);
});
