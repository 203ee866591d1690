// The address of the page, below /ui/: a path, and what is asked of it.

export const route = $state(read());

function read(): { path: string; query: URLSearchParams } {
  return { path: location.pathname.replace(/^\/ui\/?/, ""), query: new URLSearchParams(location.search) };
}

addEventListener("popstate", () => Object.assign(route, read()));

/** Go to a page without loading anything. */
export function go(path: string): void {
  history.pushState(null, "", `/ui/${path}`);
  Object.assign(route, read());
  scrollTo(0, 0);
  document.getElementById("main")?.focus({ preventScroll: true });
}

/** Write what the page was asked into its address, so that it can be shared; "" goes away. */
export function remember(values: Record<string, string>): void {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value)).toString();
  history.replaceState(null, "", location.pathname + (query ? `?${query}` : ""));
}
