import { expect, test } from "vitest";
import { quoted, snippets } from "./snippets";

test("a shell takes any prompt", () => {
  expect(quoted("it's")).toBe(`'it'\\''s'`);
});

test("Python takes what JSON allows", () => {
  const { Python } = snippets("http://x/llm/generate", { prompt: 'a "quoted" word\n', stream: true }, false);
  // What stands between the brackets is a string of both languages, and holds the body.
  const literal = /json\.loads\((.*)\)$/m.exec(Python ?? "")?.[1] ?? "";
  expect(JSON.parse(JSON.parse(literal))).toEqual({ prompt: 'a "quoted" word\n', stream: true });
});

test("a key is asked for where the server asks for one", () => {
  for (const text of Object.values(snippets("u", {}, true))) expect(text).toContain("Bearer YOUR_KEY");
  for (const text of Object.values(snippets("u", {}, false))) expect(text).not.toContain("Bearer");
});
