-- set_aside: takes work that a worker cannot read out of the way; `doctor` reports it.
--
-- takes: id, why, queue, entry
-- returns: 'set aside'
-- emits: a stream entry for what gets a slot that it gives back
-- repeat: same — it is set aside already
-- confirm: yes — nothing else would report it
-- memory: allow
local id, why, queue, entry = unpack(ARGV, 2)
local is_body = redis.call('HGET', KEY.execution(id), FIELD.entry) == entry
ack_and_delete(queue, entry)
local set = is_body and set_body_aside or set_aside
set(id, why)
return 'set aside'
