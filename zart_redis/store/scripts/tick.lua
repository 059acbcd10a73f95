-- tick: a worker has handled a tick of a recurring execution, or a client has triggered an occurrence.
--
-- takes: id, generation, count, due, new_count, new_due, live, skipped
--   generation, count, due: as it has read them
--   live: the packed list of ids of occurrences that are live
--   skipped: why it has started nothing; '' if it has
-- returns: 'ticked' | 'changed' if another one was faster
-- emits: a timer
-- repeat: same — the second one finds that the first was faster
-- confirm: yes — what it has started counts on it
-- memory: allow
local id, generation, count, due, new_count, new_due, live, skipped = unpack(ARGV, 2)
local key = KEY.recurring(id)
local found = redis.call('HMGET', key, RECURRING_FIELD.generation, RECURRING_FIELD.count, RECURRING_FIELD.due,
  RECURRING_FIELD.paused)
if found[1] ~= generation or found[2] ~= count or found[3] ~= due then
  return 'changed'
end
redis.call('HSET', key, RECURRING_FIELD.count, new_count, RECURRING_FIELD.due, new_due, RECURRING_FIELD.live, live,
  RECURRING_FIELD.skipped, skipped)
if new_due ~= due then
  set_tick(id, new_due, found[4])
end
return 'ticked'
