import { expect, test } from "vitest";
import { EventReader } from "./api";

const BODY = 'event: start\ndata: {"a":1}\n\n: still here\n\nevent: delta\ndata: {"text":"ü\\n\\nx"}\n\n';

test("every chunking gives the same events", () => {
  const whole = new EventReader().feed(BODY);
  expect(whole.map((event) => event.name)).toEqual(["start", "delta"]);
  for (let size = 1; size < BODY.length; size++) {
    const reader = new EventReader();
    const found = [];
    for (let at = 0; at < BODY.length; at += size) found.push(...reader.feed(BODY.slice(at, at + size)));
    expect(found).toEqual(whole);
  }
});
