-- set_aside: takes work that a worker cannot read out of the way; `doctor` reports it.
--
-- takes: id, why, queue, entry
-- returns: 'set aside'
-- emits: a stream entry for what gets a slot that it gives back
-- repeat: same — it is set aside already
-- confirm: yes — nothing else would report it
-- memory: allow
local id, why, queue, entry = unpack(ARGV, 2)
ack_and_delete(queue, entry)
set_aside(id, why)
return 'set aside'
