// The pages and where they stand; each comes with its own script, but the first.

import type { Component } from "svelte";

export interface Page {
  path: string;
  name: string;
  group: string;
  load?: () => Promise<{ default: Component }>;
}

export const PAGES: readonly Page[] = [
  { path: "", name: "Overview", group: "Watch" },
  { path: "requests", name: "Requests", group: "Watch", load: () => import("../pages/Requests.svelte") },
  { path: "cache", name: "Cache", group: "Watch", load: () => import("../pages/Cache.svelte") },
  { path: "playground", name: "Playground", group: "Work", load: () => import("../pages/Playground.svelte") },
  { path: "workflows", name: "Workflows", group: "Work", load: () => import("../pages/Workflows.svelte") },
  { path: "jobs", name: "Jobs", group: "Work", load: () => import("../pages/Jobs.svelte") },
  { path: "keys", name: "Keys", group: "Manage", load: () => import("../pages/Keys.svelte") },
  { path: "budgets", name: "Budgets", group: "Manage", load: () => import("../pages/Budgets.svelte") },
  { path: "providers", name: "Providers", group: "Manage", load: () => import("../pages/Providers.svelte") },
  { path: "audit", name: "Audit", group: "Manage", load: () => import("../pages/Audit.svelte") },
  { path: "settings", name: "Settings", group: "Manage", load: () => import("../pages/Settings.svelte") },
];

export const GROUPS = [...new Set(PAGES.map((page) => page.group))];
