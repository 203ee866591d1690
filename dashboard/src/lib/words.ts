// Numbers as people read them. Money comes as whole nano-dollars (1e-9 $), moments as epoch milliseconds.

/** Write dollars: two decimals from a dollar on, more below, so that a cent's fraction is not nothing. */
export function money(nano: number): string {
  const dollars = nano / 1e9;
  const size = Math.abs(dollars);
  const decimals = size === 0 || size >= 1 ? 2 : size >= 0.01 ? 3 : 6;
  return `${dollars < 0 ? "-" : ""}$${size.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals })}`;
}

/** Write dollars as short as an axis needs them: two significant digits. */
export function shortMoney(nano: number): string {
  const dollars = nano / 1e9;
  if (dollars >= 1000) return `$${count(dollars / 1000)}k`;
  return `$${Number(dollars.toPrecision(2)).toLocaleString("en-US", { maximumFractionDigits: 9 })}`;
}

/** Write a duration given in milliseconds. */
export function span(ms: number): string {
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : long(ms);
}

function long(ms: number): string {
  const minutes = Math.round(ms / 60_000);
  if (minutes < 90) return `${minutes} min`;
  return minutes < 48 * 60 ? `${Math.round(minutes / 60)} h` : `${Math.round(minutes / 1440)} days`;
}

/** Write how long something took that is told in whole milliseconds. */
export function took(ms: number): string {
  return ms < 1 ? "< 1 ms" : ms < 1000 ? `${ms} ms` : span(ms);
}

/** Write a whole number with its thousands apart. */
export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** Write a size in bytes. */
export function size(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let power = 0;
  let left = bytes;
  while (left >= 999.5 && power < units.length - 1) [left, power] = [left / 1000, power + 1];
  return `${power && left < 10 ? left.toFixed(1) : Math.round(left)} ${units[power]}`;
}

/** Write a moment in the reader's own time. */
export function moment(ms: number): string {
  return new Date(ms).toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" });
}

/** Write how long ago, or in how long, something is. */
export function ago(ms: number, now = Date.now()): string {
  const apart = Math.abs(now - ms);
  const words = apart < 60_000 ? `${Math.round(apart / 1000)} s` : long(apart);
  return ms <= now ? `${words} ago` : `in ${words}`;
}

/** Write how a value stands against a former one, in per cent; "" where that says nothing. */
export function change(now: number, before: number): string {
  if (!before) return "";
  const percent = Math.round(((now - before) / before) * 100);
  return `${percent > 0 ? "+" : ""}${percent} %`;
}

/** Write a key of JSON as words: `firstTokenMs` as "first token". */
export function plain(key: string): string {
  return key
    .replace(/(Nano|Ms)$/, "")
    .replace(/([a-z])([A-Z])/g, "$1 $2")
    .toLowerCase();
}
