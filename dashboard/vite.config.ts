import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// The policy of the server allows files of its own only: nothing is inlined, no style is made by script.
export default defineConfig({
  base: "/ui/",
  plugins: [svelte({ compilerOptions: { css: "external" } })],
  build: { target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  server: {
    proxy: Object.fromEntries(
      ["/llm", "/v1", "/admin", "/sessions", "/health", "/ready"].map((path) => [path, "http://127.0.0.1:3001"]),
    ),
  },
});
