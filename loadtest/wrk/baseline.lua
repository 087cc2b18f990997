-- Holds what a gateway serves of wrk's requests against what it must.
--
--   wrk -t2 -c50 -d30s -s loadtest/wrk/baseline.lua https://gateway.example.com/ -- 20 5000
--
-- After `--`: the milliseconds that 99 of 100 may take, and the requests a second that
-- there have to be. wrk asks again when it was answered: what it tells is what the
-- gateway can do, not what users wait for at a rate (see src/bin/load for that).
-- Prints JSON; exits with 1 when an answer is not 200 or a figure is missed.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  p99, rate = tonumber(arguments[1] or 100), tonumber(arguments[2] or 1)
  good, strange = 0, 0
end

function response(status)
  if status == 200 then good = good + 1 else strange = strange + 1 end
end

function done(summary, latency)
  local good, strange = 0, 0
  for _, thread in ipairs(threads) do
    good, strange = good + thread:get("good"), strange + thread:get("strange")
  end
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  local rps, slowest = good / (summary.duration / 1e6), latency:percentile(99) / 1e3
  local passed = strange == 0 and broken == 0 and good > 0
    and slowest <= threads[1]:get("p99") and rps >= threads[1]:get("rate")
  io.write(string.format(
    '\nREPORT {"passed":%s,"good":%d,"strange":%d,"broken":%d,"requests_per_second":%.0f,"p50_ms":%.2f,"p99_ms":%.2f}\n',
    tostring(passed), good, strange, broken, rps, latency:percentile(50) / 1e3, slowest))
  io.flush()
  if not passed then os.exit(1) end
end
