-- The same 200-byte question from 100,000 addresses in turn: each stays under 20 a minute at up to 33,000 a second.
local n = 0
local body = os.getenv("BENCH_BODY")
function request()
  n = (n + 1) % 100000
  local address = string.format("127.%d.%d.%d", math.floor(n / 65536), math.floor(n / 256) % 256, n % 256)
  return wrk.format("POST", "/llm/generate", {
    ["Content-Type"] = "application/json",
    ["X-Forwarded-For"] = address,
  }, body)
end
function done(summary, latency, requests)
  io.write(string.format('RESULT {"rps": %.1f, "p50_us": %d, "p99_us": %d, "non2xx": %d, "errors": %d}\n',
    summary.requests / summary.duration * 1e6, latency:percentile(50), latency:percentile(99),
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
