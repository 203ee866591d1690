// Code with its words marked. Each language is a small script of its own, loaded when it is first seen.

import type { LanguageFn } from "highlight.js";
import core from "highlight.js/lib/core";

const LANGUAGES: Record<string, () => Promise<{ default: LanguageFn }>> = {
  bash: () => import("highlight.js/lib/languages/bash"),
  c: () => import("highlight.js/lib/languages/c"),
  cpp: () => import("highlight.js/lib/languages/cpp"),
  csharp: () => import("highlight.js/lib/languages/csharp"),
  css: () => import("highlight.js/lib/languages/css"),
  go: () => import("highlight.js/lib/languages/go"),
  java: () => import("highlight.js/lib/languages/java"),
  javascript: () => import("highlight.js/lib/languages/javascript"),
  json: () => import("highlight.js/lib/languages/json"),
  markdown: () => import("highlight.js/lib/languages/markdown"),
  php: () => import("highlight.js/lib/languages/php"),
  python: () => import("highlight.js/lib/languages/python"),
  ruby: () => import("highlight.js/lib/languages/ruby"),
  rust: () => import("highlight.js/lib/languages/rust"),
  sql: () => import("highlight.js/lib/languages/sql"),
  typescript: () => import("highlight.js/lib/languages/typescript"),
  xml: () => import("highlight.js/lib/languages/xml"),
  yaml: () => import("highlight.js/lib/languages/yaml"),
};
const ALIASES: Record<string, string> = {
  cs: "csharp", html: "xml", htm: "xml", js: "javascript", jsx: "javascript", md: "markdown", py: "python",
  rb: "ruby", rs: "rust", sh: "bash", shell: "bash", svelte: "xml", toml: "yaml", ts: "typescript", tsx: "typescript",
  vue: "xml", yml: "yaml", h: "c", hpp: "cpp", mjs: "javascript",
};
const CHARACTERS_MAX = 200_000; // marking more would hold up the page

/** Name the language of a file by what was said of it, or by its ending; "" where neither is known. */
export function languageOf(said: string, path: string): string {
  for (const word of [said.toLowerCase(), path.split(".").pop()?.toLowerCase() ?? ""]) {
    const name = ALIASES[word] ?? word;
    if (name in LANGUAGES) return name;
  }
  return "";
}

/** Return HTML in which only the marks are tags: everything of the code itself is escaped. "" where it stays as it is. */
export async function highlight(code: string, language: string): Promise<string> {
  const load = LANGUAGES[language];
  if (!load || code.length > CHARACTERS_MAX) return "";
  if (!core.getLanguage(language)) core.registerLanguage(language, (await load()).default);
  return core.highlight(code, { language, ignoreIllegals: true }).value;
}
