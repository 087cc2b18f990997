-- Holds what a limit admits of wrk's requests against the time that they took.
--
--   wrk -t1 -c15 -d15s -s loadtest/wrk/rate_limit.lua http://127.0.0.1:8080/orders -- 100 20 100
--
-- After `--`: the limit's rate a second, its burst, and milliseconds that each
-- connection waits between its answer and its next request (without it: none).
-- wrk cannot hold a rate: a connection asks again when it was answered. 15
-- connections that wait 100 ms make nearly 150 requests a second; without a wait
-- they ask as fast as they are refused. Either way more than the limit is asked for
-- all the time, so what passes is the burst and the rate times the time from the
-- first request to the last answer that passed, on the monotonic clock: 1 % and a
-- request are allowed. Prints JSON; exits with 1 when that, an answer or a header
-- of a 429 is not as it must be.

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds; long nanos; } moment_t;
  int clock_gettime(int clock, moment_t *moment);
]]

local function now()
  local moment = ffi.new("moment_t")
  ffi.C.clock_gettime(1, moment)
  return tonumber(moment.seconds) + tonumber(moment.nanos) / 1e9
end

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  rate, burst, pause = tonumber(arguments[1] or 100), tonumber(arguments[2] or 20), tonumber(arguments[3] or 0)
  admitted, refused, strange, untold = 0, 0, 0, 0
  calls, first, last = 0, 0, 0
  wrk.method = "POST"
  wrk.body = '{"item":4711,"count":1}'
  wrk.headers["Content-Type"] = "application/json"
  bytes = wrk.format()
end

-- wrk calls this once before it starts, to look at the request.
function request()
  if calls < 2 and admitted + refused == 0 then first, calls = now(), calls + 1 end
  return bytes
end

function delay()
  return pause
end

function response(status, headers)
  if status == 200 then
    admitted, last = admitted + 1, now()
  elseif status == 429 then
    refused = refused + 1
    if not told(headers) then untold = untold + 1 end
  else
    strange = strange + 1
  end
end

-- Field names come as they were sent.
function told(headers)
  local found = {}
  for name, value in pairs(headers) do found[name:lower()] = value end
  return tonumber(found["retry-after"] or 0) >= 1
    and (found["ratelimit"] or ""):find(";r=0;t=%d+$")
    and (found["ratelimit-policy"] or ""):find(";q=" .. burst .. ";", 1, true)
    and (found["content-type"] or ""):find("application/problem+json", 1, true)
end

function done(summary)
  local sums = { admitted = 0, refused = 0, strange = 0, untold = 0 }
  local from, to = math.huge, 0
  for _, thread in ipairs(threads) do
    for name in pairs(sums) do sums[name] = sums[name] + thread:get(name) end
    if thread:get("first") > 0 then from = math.min(from, thread:get("first")) end
    to = math.max(to, thread:get("last"))
  end
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  local seconds = to - from
  local expected = threads[1]:get("burst") + threads[1]:get("rate") * seconds
  local asked = sums.admitted + sums.refused
  local within = math.abs(sums.admitted - expected) <= expected * 0.01 + 1
  local passed = within and sums.strange == 0 and sums.untold == 0 and broken == 0 and sums.refused > 0
  io.write(string.format(
    '\nREPORT {"passed":%s,"admitted":%d,"expected":%.1f,"refused":%d,"asked_per_second":%.0f,' ..
    '"seconds":%.3f,"strange":%d,"refusals_without_a_header":%d,"broken":%d}\n',
    tostring(passed), sums.admitted, expected, sums.refused, asked / seconds, seconds, sums.strange, sums.untold, broken))
  io.flush()
  if not passed then os.exit(1) end
end
