-- read_limits: the limits and their counters, in batches.
--
-- takes: what, cursor
--   what: 'numbers' for all that have been given numbers, 'counters' for those that are in use
--   cursor: as returned by the call before; '0' to begin
-- returns: {cursor, '0' at the end, then for each its counter, how many hold a slot, how many wait, how many may hold one or
--   '', the rate or ''}
-- emits: nothing
-- repeat: read — nothing is written
-- confirm: no — nothing is written
-- memory: none
local what, cursor = unpack(ARGV, 2)
local reply = {}

local function add(counter)
  local concurrency, rate = numbers_of(counter)
  reply[#reply + 1], reply[#reply + 2] = counter, redis.call('ZCARD', KEY.slots(counter))
  reply[#reply + 1], reply[#reply + 2] = redis.call('ZCARD', KEY.line(counter)), concurrency or ''
  reply[#reply + 1] = rate or ''
end

local scanned
if what == 'counters' then
  scanned = redis.call('SSCAN', KEY.counters, cursor, 'COUNT', 100)
  reply[1] = scanned[1]
  for _, counter in ipairs(scanned[2]) do
    add(counter)
  end
else
  scanned = redis.call('HSCAN', KEY.limits, cursor, 'COUNT', 100)
  reply[1] = scanned[1]
  for i = 1, #scanned[2], 2 do
    if scanned[2][i] ~= LIMIT_FIELD.arrivals then
      add(string.sub(scanned[2][i], 2))
    end
  end
end
return reply
