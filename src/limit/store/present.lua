-- Says that a gateway is there, and how many are.
--
-- KEYS[1]  every gateway with the time of its last word, by the store's clock, so
--          that nobody's clock makes anybody absent
-- ARGV[1]  which gateway
-- ARGV[2]  after so many milliseconds without a word it is none any more
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - tonumber(ARGV[2])))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
