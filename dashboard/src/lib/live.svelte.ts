// What the server tells as it happens (server-sent events), while the page is looked at.

import { ask } from "./api";

const AGAIN_MS = 5_000;

export type Stands = "waiting" | "live" | "away";

/**
 * Follow a stream of events until what is returned is called. A page in the background lets go of it. Where the server
 * refuses, `stand` is told its sentence, and it is tried again.
 */
export function follow(
  path: string,
  events: readonly string[],
  take: (name: string, data: unknown) => void,
  stand: (how: Stands, said: string) => void = () => undefined,
): () => void {
  let source: EventSource | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  function open(): void {
    close();
    if (document.visibilityState !== "visible") return;
    source = new EventSource(path);
    source.onopen = () => stand("live", "");
    for (const name of events) source.addEventListener(name, (event) => take(name, JSON.parse((event as MessageEvent<string>).data)));
    source.onerror = () => {
      if (source?.readyState !== EventSource.CLOSED) return stand("away", "");
      void why();
      timer = setTimeout(open, AGAIN_MS);
    };
  }
  function close(): void {
    source?.close();
    source = undefined;
    clearTimeout(timer);
  }
  /** A stream that is refused says nothing to a page; what it is the stream of does. */
  async function why(): Promise<void> {
    await ask("GET", path.replace(/\/events(?=$|\?)/, "")).then(
      () => stand("away", ""),
      (error: Error) => stand("away", error.message),
    );
  }

  open();
  document.addEventListener("visibilitychange", open);
  return () => {
    document.removeEventListener("visibilitychange", open);
    close();
  };
}
