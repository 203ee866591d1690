import { expect, test } from "vitest";
import { highlight, languageOf } from "./highlight";

test("a language is known by its name, by its short one, or by the file's ending", () => {
  expect(languageOf("Python", "x")).toBe("python");
  expect(languageOf("ts", "x")).toBe("typescript");
  expect(languageOf("", "a/b/main.rs")).toBe("rust");
  expect(languageOf("", "LICENSE")).toBe("");
});

test("what is marked is escaped", async () => {
  const marked = await highlight('x = "<img src=x onerror=alert(1)>"', "python");
  expect(marked).toContain('<span class="hljs-string">');
  expect(marked).not.toContain("<img");
});

test("an unknown language stays as it is", async () => {
  expect(await highlight("a", "klingon")).toBe("");
});
