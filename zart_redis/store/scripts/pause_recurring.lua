-- pause_recurring: a recurring execution starts no occurrences until it is resumed, at its next tick.
--
-- takes: id, paused, due
--   paused: '1' or ''
--   due: when it is resumed, the nominal time of its next tick; '' if there is none
-- returns: 'done' | 'missing'
-- emits: a timer
-- repeat: same — it is paused, or resumed, already
-- confirm: yes — the caller relies on it
-- memory: allow
local id, paused, due = unpack(ARGV, 2)
local key = KEY.recurring(id)
if redis.call('EXISTS', key) == 0 then
  return 'missing'
end
redis.call('HSET', key, RECURRING_FIELD.paused, paused)
if paused == '' then
  redis.call('HSET', key, RECURRING_FIELD.due, due)
end
set_tick(id, due, paused)
return 'done'
