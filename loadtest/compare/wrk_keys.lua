-- Sends one of 1,048,576 keys in a header of each request, all of them in turn in an
-- order that nobody guesses, and prints what wrk measured as one line of JSON.
--
-- After `--`: the key to begin with; how many requests have a key (0: all, as long as
-- wrk says); the status that every answer to those must have; how many routes they go
-- through (0: the path is as the URL has it).

local KEYS = 1048576
-- Requests without a key after the last with one, so that all of those are answered.
local REST = 2000

function init(arguments)
  key, left, wanted = tonumber(arguments[1]), tonumber(arguments[2]), tonumber(arguments[3])
  routes = tonumber(arguments[4])
  if left > 0 then response = counted end
  bare = wrk.format("GET")
  -- wrk calls `request` once before it starts, to look at it.
  made = -1
  local head, tail = wrk.format("GET", nil, { ["x-consumer"] = "#" }):match("^(.*)#(.*)$")
  form = head:gsub("%%", "%%%%") .. "consumer-%08d" .. tail:gsub("%%", "%%%%")
  if routes > 0 then form = form:gsub("^(%S+) %S+", "%1 /r%%05d/orders") end
end

function setup(thread)
  only = thread
end

-- Of full period: every key comes once before any comes again.
function request()
  made = made + 1
  if made == 0 then return bare end
  if left > 0 and made > left then return bare end
  key = (key * 1664525 + 1013904223) % KEYS
  if routes == 0 then return form:format(key) end
  -- Not the key's last digits: those of such a sequence repeat.
  return form:format(math.floor(key / KEYS * routes), key)
end

-- Those without a key pass. wrk itself would sleep on to the end of its time.
local answers, passed, refused = 0, 0, 0
function counted(status)
  answers = answers + 1
  if status == 200 then passed = passed + 1 elseif status == 429 then refused = refused + 1 end
  if answers == left + REST then
    local right = wanted == 429 and refused or passed - REST
    io.write(string.format('\nREPORT {"requests":%d,"errors":%d}\n', left, left - right))
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
