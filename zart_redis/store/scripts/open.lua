-- open: fixes the number of partitions and the layout version of a namespace when it is first used.
--
-- takes: partitions, upgraded
--   partitions: the number asked for; '' for any
--   upgraded: '1' if a namespace of the unversioned layout has been upgraded
-- returns: {the number of partitions, the layout version or '' if the namespace has still to be upgraded}
-- emits: nothing
-- repeat: same — the first values are kept
-- confirm: no — they are fixed again by the next process that opens the namespace
-- memory: allow
local partitions, upgraded = unpack(ARGV, 2)
local is_new = redis.call('HSETNX', KEY.meta, META.partitions, partitions == '' and '1' or partitions) == 1
if is_new or upgraded == '1' then
  redis.call('HSETNX', KEY.meta, META.layout, LAYOUT.version)
end
return { tonumber(redis.call('HGET', KEY.meta, META.partitions)) or false,
  redis.call('HGET', KEY.meta, META.layout) or '' }
