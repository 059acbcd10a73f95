-- settle_child: a child in another partition has ended, or its id is used by another execution: its parent learns of it.
--
-- takes: parent, record
--   parent: as the field `parent` of the child has it
-- returns: 'settled'
-- emits: the body's stream entry; a timer if the body has returned, and waits for nothing else
-- repeat: same — a child that has been settled is not among the scheduled steps any more
-- confirm: yes — the mail that asked for it is deleted
-- memory: allow
local parent, record = unpack(ARGV, 2, 3)
settle_child(parent, record)
return 'settled'
