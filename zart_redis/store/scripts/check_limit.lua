-- check_limit: looks among those that hold a slot of a counter, or wait for one, for those that have no use for it, in batches;
-- and whether the line moves. Repairs it if asked.
--
-- takes: repair, counter, place, cursor
--   repair: '1' to repair
--   place: 'slots', or 'line', which comes after it
--   cursor: as returned by the call before; '0' to begin
-- returns: {cursor, '0' at the end, then findings}
-- emits: stream entries for those that get a slot, when repairing
-- repeat: same — what is repaired is not found again
-- confirm: no — a lost repair is found again
-- memory: allow
local repair, counter, place, cursor = unpack(ARGV, 2)
local key = place == 'slots' and KEY.slots(counter) or KEY.line(counter)

-- Where a member says that it is.
local function place_of(member)
  local x = read_execution(string.sub(member, 2))
  local gates = is_live(x.status) and x.limits ~= '' and read_gates(x.limits)
  for i = 1, gates and gates.asked or 0 do
    if gates.counters[i] == counter then
      return i <= gates.held and 'slots' or 'line'
    end
  end
end

-- Whether the first in the line could have a slot, and nothing is about to give it one.
local function stands_still()
  local concurrency = numbers_of(counter)
  return redis.call('EXISTS', KEY.line(counter)) == 1 and not redis.call('ZSCORE', KEY.timers, TIMER.limit .. counter)
    and not redis.call('ZSCORE', KEY.timers, changed_limit_member(limit_of(counter), '0')) and not (concurrency and redis.call('ZCARD', KEY.slots(counter)) >= concurrency)
end

local scanned = redis.call('ZSCAN', key, cursor, 'COUNT', 100)
local reply = { scanned[1] }
for i = 1, #scanned[2], 2 do
  local member = scanned[2][i]
  local readable, actual = pcall(place_of, member)
  if is_run(member) and readable and actual ~= place then
    reply[#reply + 1] = string.sub(member, 2) .. ' has no use for its place in the ' .. place
    if repair == '1' then
      redis.call('ZREM', key, member)
    end
  end
end
if place == 'line' and scanned[1] == '0' then
  if #reply == 1 and stands_still() then
    reply[2] = 'the line does not move'
  end
  if repair == '1' then
    promote(counter, MAX_PROMOTED)
    forget_if_unused(counter)
  end
end
return reply
