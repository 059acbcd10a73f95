-- stop_recurring: deletes a recurring execution. Its occurrences stay.
--
-- takes: id
-- returns: 1 | 0 if there is none
-- emits: nothing
-- repeat: same — it is gone; only the reply differs
-- confirm: yes — the caller relies on it
-- memory: allow
local id = unpack(ARGV, 2)
redis.call('ZREM', KEY.timers, TIMER.recurring .. id)
redis.call('SREM', KEY.recurring_ids, id)
return redis.call('DEL', KEY.recurring(id))
