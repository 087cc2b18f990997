-- Asks a path, in whose `#` stands another number each time, and prints what wrk measured
-- as one line of JSON. After `--`: the path, and how many numbers there are. Every request
-- has one of 64 keys in `x-key`.

function init(arguments)
  path, numbers = arguments[1], tonumber(arguments[2])
  number = math.random(numbers)
  before, after = path:match("^(.*)#(.*)$")
end

-- Of full period where the numbers are a power of two; as good as any order elsewhere.
function request()
  number = (number * 1664525 + 1013904223) % 4294967296
  local nth = math.floor(number / 4294967296 * numbers)
  wrk.headers["x-key"] = nth % 64
  return wrk.format("GET", before and before .. nth .. after or path)
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\nREPORT {"requests":%d,"seconds":%.6f,"p50_us":%d,"p99_us":%d,"errors":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
