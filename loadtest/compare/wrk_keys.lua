-- Sends one of 1,048,576 keys in a header of each request, all of them in turn in an
-- order that nobody guesses, and prints what wrk measured as one line of JSON.
--
-- After `--`: the key to begin with; how many answers end it (0: as long as wrk says);
-- the status that every answer must have.

local KEYS = 1048576

function init(arguments)
  key, left, wanted = tonumber(arguments[1]), tonumber(arguments[2]), tonumber(arguments[3])
  if left > 0 then response = counted end
  local head, tail = wrk.format("GET", nil, { ["x-consumer"] = "#" }):match("^(.*)#(.*)$")
  form = head:gsub("%%", "%%%%") .. "consumer-%08d" .. tail:gsub("%%", "%%%%")
end

function setup(thread)
  only = thread
end

-- Of full period: every key comes once before any comes again.
function request()
  key = (key * 1664525 + 1013904223) % KEYS
  return form:format(key)
end

-- wrk itself would sleep on to the end of its time.
local answers, wrong = 0, 0
function counted(status)
  answers = answers + 1
  if status ~= wanted then wrong = wrong + 1 end
  if answers == left then
    io.write(string.format('\nREPORT {"requests":%d,"errors":%d}\n', answers, wrong))
    io.flush()
    os.exit(0)
  end
end

function done(summary, latency)
  local e = summary.errors
  local wrong = e.status
  -- The first one or two of those that are all refused use the limit up.
  if only:get("wanted") == 429 then wrong = math.max(0, summary.requests - e.status - 2) end
  io.write(string.format(
    '\nREPORT {"requests":%d,"seconds":%.6f,"p50_us":%d,"p99_us":%d,"errors":%d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.timeout + wrong))
end
