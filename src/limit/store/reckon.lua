-- What the gateways of a fleet spent, reckoned up: one call for many keys.
--
-- KEYS[i]  a key's cell, "due total": when it owes nothing any more, and what was
--          ever spent on it, in microseconds of the store's clock and of rate-time
-- ARGV[1]  how far ahead of now a cell may be at most, microseconds
-- ARGV[2i], ARGV[2i+1]  what was spent on KEYS[i], and how long ago that began
--
-- Answers with "how far ahead of now" and "total" of each key, one after the other.
-- Numbers are doubles here: exact up to 2^53, and the gateway sends none that could
-- lead beyond. src/limit/lease/reckon.rs is this in Rust; a test holds them together.
local MOST = 2 ^ 52
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local most = tonumber(ARGV[1])
local told = {}
for i, key in ipairs(KEYS) do
  local micros, age = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local due, total = 0, 0
  -- What somebody else wrote there is overwritten, whatever it is: it must not lead to
  -- an answer that is no number, of a call that has other keys too.
  local cell = redis.pcall('GET', key)
  if type(cell) == 'string' then
    local d, t = string.match(cell, '^(%d+) (%d+)$')
    due, total = math.min(tonumber(d) or 0, MOST), math.min(tonumber(t) or 0, MOST)
  end
  due = math.min(math.max(due, now - age) + micros, now + most)
  total = math.min(total + micros, MOST)
  local ahead = math.max(due - now, 0)
  local keep = math.ceil(ahead / 1000) + 10000
  redis.call('SET', key, string.format('%.0f %.0f', due, total), 'PX', string.format('%.0f', keep))
  told[2 * i - 1] = ahead
  told[2 * i] = total
end
return told
