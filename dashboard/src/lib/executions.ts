// Executions as the pages need them: their states, their graph's places, and what a file was before.

import type { File } from "./api";

export const STATES = ["queued", "running", "succeeded", "failed", "cancelled"] as const;
const TONES: Record<string, string> = { succeeded: "good", failed: "bad", running: "wait" };
/** The colour of a state of an execution or of a node. */
export const stateTone = (status: string): string => TONES[status] ?? "";

export interface Node {
  id: string;
  type: string;
  status: string;
  dependsOn: string[];
  attempts: number;
  provider?: string;
  model?: string;
  usage?: { totalTokens: number };
  costNano: number;
  savedNano: number;
  cache?: string;
  startedAt: number;
  endedAt: number;
  text?: string;
  files?: File[];
  score?: number;
  note?: string;
  error?: { code: string; message: string };
}
export interface Execution {
  id: string;
  kind: string;
  name: string;
  queue: string;
  status: string;
  progress: number;
  round: number;
  createdAt: number;
  startedAt: number;
  endedAt: number;
  totals: { totalTokens: number; costNano: number; savedNano: number; cachedNodes: number };
  nodes: Node[];
  files: File[];
  history?: Record<string, { node: string; added: number; removed: number }[]>;
  error?: { code: string; message: string };
  cancelling?: boolean;
}

export const hasEnded = (status: string): boolean => !["queued", "running"].includes(status);

/** Return a file as each node left it, in the order in which they wrote: what a diff is made of. */
export function versions(execution: Execution, path: string): { node: string; content: string }[] {
  const writers = execution.history?.[path]?.map((change) => change.node) ?? [];
  return writers.flatMap((id) => {
    const file = execution.nodes.find((node) => node.id === id)?.files?.find((one) => one.path === path);
    return file ? [{ node: id, content: file.content }] : [];
  });
}
