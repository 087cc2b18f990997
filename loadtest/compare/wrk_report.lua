-- Prints what wrk measured as one line of JSON (wrk's own text rounds the latencies).
--
-- After `--` may stand a file of bearer tokens, a line each: every request then has one of
-- them, drawn at random.

local requests = {}

function init(arguments)
  if not arguments[1] then return end
  math.randomseed(os.time())
  for token in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("GET", nil, { ["Authorization"] = "Bearer " .. token })
  end
  function request() return requests[math.random(#requests)] end
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\nREPORT {"requests":%d,"seconds":%.6f,"p50_us":%d,"p99_us":%d,"errors":%d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
