// Numbers as people read them. Money comes as whole nano-dollars (1e-9 $).

/** Write dollars: two decimals from a dollar on, more below, so that a cent's fraction is not nothing. */
export function money(nano: number): string {
  const dollars = nano / 1e9;
  const size = Math.abs(dollars);
  const decimals = size === 0 || size >= 1 ? 2 : size >= 0.01 ? 3 : 6;
  return `${dollars < 0 ? "-" : ""}$${size.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals })}`;
}

/** Write a duration given in milliseconds. */
export function span(ms: number): string {
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60_000)} min`;
}

/** Write a whole number with its thousands apart. */
export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** Write a moment (epoch milliseconds) in the reader's own time. */
export function moment(ms: number): string {
  return new Date(ms).toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" });
}

/** Write how a value stands against a former one, in per cent; "" where that says nothing. */
export function change(now: number, before: number): string {
  if (!before) return "";
  const percent = Math.round(((now - before) / before) * 100);
  return `${percent > 0 ? "+" : ""}${percent} %`;
}
