// The address of the page, below /ui/.

export const route = $state({ path: read() });

function read(): string {
  return location.pathname.replace(/^\/ui\/?/, "");
}

addEventListener("popstate", () => (route.path = read()));

/** Go to a page without loading anything. */
export function go(path: string): void {
  history.pushState(null, "", `/ui/${path}`);
  route.path = path;
  document.getElementById("main")?.focus();
}
