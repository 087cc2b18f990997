-- Forged tokens as fast as wrk can: each upstream gets one token, and it is not ours.
--
--   wrk -t1 -c10 -d10s -s loadtest/wrk/signed.lua https://gateway.example.com/orders -- https://gateway.example.com jwt
--
-- After `--`: the issuer that tokens must name, and the header field (default: jwt). The
-- upstream must answer with what it received, as target/debug/origin does. Looks at each
-- token's claims, not at its signature: k6/signed.js verifies that. Prints JSON; exits
-- with 1 when an answer is not 200, or does not hold exactly one token of that issuer.

local FORGED = "f0rged-by-a-client"
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  issuer, field = arguments[1] or "", (arguments[2] or "jwt"):lower()
  good, strange, wrong = 0, 0, 0
  local spelled = { field, field:upper(), field:sub(1, 1):upper() .. field:sub(2) }
  asks = {}
  for at, name in ipairs(spelled) do asks[at] = wrk.format("GET", nil, { [name] = "e30.e30." .. FORGED }) end
  at = 0
end

function request()
  at = at % #asks + 1
  return asks[at]
end

function response(status, _, body)
  if status ~= 200 then
    strange = strange + 1
  elseif ours(body) then
    good = good + 1
  else
    wrong = wrong + 1
  end
end

-- Whether the echo of the request holds one token, with our issuer in its claims.
function ours(body)
  local found, claims = 0, nil
  for name, value in body:gmatch('%["([^"]+)","([^"]*)"%]') do
    if name:lower() == field then found, claims = found + 1, value:match("^[^.]+%.([^.]+)%.[^.]+$") end
  end
  local told = claims and decoded(claims) or ""
  return found == 1 and not body:find(FORGED, 1, true)
    and told:gsub("\\/", "/"):find('"iss":"' .. issuer .. '"', 1, true) ~= nil
end

local LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

-- base64url without padding.
function decoded(text)
  local bits, count, bytes = 0, 0, {}
  for letter in text:gmatch(".") do
    local value = LETTERS:find(letter, 1, true)
    if not value then return "" end
    bits, count = (bits % 256) * 64 + value - 1, count + 6
    if count >= 8 then
      count = count - 8
      bytes[#bytes + 1] = string.char(math.floor(bits / 2 ^ count) % 256)
    end
  end
  return table.concat(bytes)
end

function done(summary)
  local sums = { good = 0, strange = 0, wrong = 0 }
  for _, thread in ipairs(threads) do
    for name in pairs(sums) do sums[name] = sums[name] + thread:get(name) end
  end
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  local passed = sums.strange == 0 and sums.wrong == 0 and broken == 0 and sums.good > 0
  io.write(string.format(
    '\nREPORT {"passed":%s,"good":%d,"without_one_token_of_ours":%d,"strange":%d,"broken":%d,"requests_per_second":%.0f}\n',
    tostring(passed), sums.good, sums.wrong, sums.strange, broken, sums.good / (summary.duration / 1e6)))
  io.flush()
  if not passed then os.exit(1) end
end
