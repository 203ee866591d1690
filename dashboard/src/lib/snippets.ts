// A question as others would ask it: what Playground copies.

export const quoted = (value: string): string => `'${value.replaceAll("'", `'\\''`)}'`;

const KEY = "YOUR_KEY";

/** Write the call in each language. `keyed`: whether the server asks who one is. */
export function snippets(url: string, body: object, keyed: boolean): Record<string, string> {
  const json = JSON.stringify(body);
  return {
    curl: `curl -s ${url} -H 'Content-Type: application/json'${keyed ? ` -H 'Authorization: Bearer ${KEY}'` : ""} -d ${quoted(json)}`,
    Python: [
      "import json",
      "import urllib.request",
      "",
      `body = json.loads(${JSON.stringify(json)})`,
      `headers = {"Content-Type": "application/json"${keyed ? `, "Authorization": "Bearer ${KEY}"` : ""}}`,
      `request = urllib.request.Request(${JSON.stringify(url)}, json.dumps(body).encode(), headers)`,
      "with urllib.request.urlopen(request) as reply:",
      '    print(json.load(reply)["code"])',
      "",
    ].join("\n"),
    JavaScript: [
      `const reply = await fetch(${JSON.stringify(url)}, {`,
      '  method: "POST",',
      `  headers: { "Content-Type": "application/json"${keyed ? `, Authorization: "Bearer ${KEY}"` : ""} },`,
      `  body: JSON.stringify(${json}),`,
      "});",
      "console.log((await reply.json()).code);",
      "",
    ].join("\n"),
  };
}
