-- set_recurring: sets what a recurring execution starts and when. Its count, its live occurrences and its pause stay.
--
-- takes: id, generation, spec, anchor, due
--   generation: that of the spec that is replaced; '' if there is none
--   due: the nominal time of the next tick; '' if there is none
-- returns: 'set' | 'changed' if another command has set it meanwhile
-- emits: a timer
-- repeat: same — the second one finds the spec of the first
-- confirm: yes — the caller relies on it
-- memory: reject
local id, generation, spec, anchor, due = unpack(ARGV, 2)
local key = KEY.recurring(id)
local current, stored, paused = unpack(redis.call('HMGET', key, RECURRING_FIELD.generation, RECURRING_FIELD.spec,
  RECURRING_FIELD.paused))
if (current or '') ~= generation then
  return stored == spec and 'set' or 'changed'
end
redis.call('HSET', key, RECURRING_FIELD.spec, spec, RECURRING_FIELD.generation, (tonumber(generation) or 0) + 1,
  RECURRING_FIELD.anchor, anchor, RECURRING_FIELD.due, due, RECURRING_FIELD.skipped, '')
redis.call('HSETNX', key, RECURRING_FIELD.count, 0)
redis.call('SADD', KEY.recurring_ids, id)
set_tick(id, due, paused)
return 'set'
