-- The partition's prefix, and the time.
--
-- KEYS[1]  the prefix of the partition, "{namespace:partition}:"; every key begins with it
-- ARGV[1]  the time in ms that a test harness supplies, or '' for Redis's own clock

local P = KEYS[1]

local clock
local function now()
  if not clock then
    if ARGV[1] ~= '' then
      clock = tonumber(ARGV[1])
    else
      local t = redis.call('TIME')
      clock = t[1] * 1000 + math.floor(t[2] / 1000)
    end
  end
  return clock
end

local function in_ms(duration)
  return string.format('%d', now() + tonumber(duration))
end
