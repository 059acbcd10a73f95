--@include base insist stream damaged
-- set_aside: what a worker cannot read is taken out of the way, and named by `doctor`.
--
-- ARGV    id, why, queue, entry
-- answer  'set aside'
local id, why, queue, entry = unpack(ARGV, 2)
forget_entry(queue, entry)
set_aside(id, why)
return 'set aside'
