-- Ask one question from 100,000 addresses in turn: each stays under 20 a minute at up to 33,000 questions a second, as
-- long as every run goes on where the last one ended (BENCH_CALLERS_FROM).
-- BENCH_BODY: the question. Where it holds "@@", a number is put there:
-- BENCH_AUTHORIZATION: a header of every question, if it is set.
-- BENCH_NUMBERS: "count:S" counts up from S, so that no question is asked twice; "random:N" draws one of 0 to N-1.
local sent = 0
local from = tonumber(os.getenv("BENCH_CALLERS_FROM"))
local head, tail = string.match(os.getenv("BENCH_BODY"), "^(.-)@@(.*)$")
local kind, size = string.match(os.getenv("BENCH_NUMBERS") or "", "^(%a+):(%d+)$")
local body = os.getenv("BENCH_BODY")
local headers = { ["Content-Type"] = "application/json", ["Authorization"] = os.getenv("BENCH_AUTHORIZATION") }
math.randomseed(os.time())

function request()
  local n = (from + sent) % 100000
  sent = sent + 1
  headers["X-Forwarded-For"] = string.format("127.%d.%d.%d", math.floor(n / 65536), math.floor(n / 256) % 256, n % 256)
  if head then
    local number = kind == "random" and math.random(0, size - 1) or size + sent
    body = head .. string.format("%d", number) .. tail
  end
  return wrk.format("POST", nil, headers, body)
end

function done(summary, latency, requests)
  local lost = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format('RESULT {"requests": %d, "rps": %.1f, "p50_us": %d, "p99_us": %d, "non2xx": %d, "lost": %d}\n',
    summary.requests, summary.requests / summary.duration * 1e6, latency:percentile(50), latency:percentile(99),
    summary.errors.status, lost))
end
