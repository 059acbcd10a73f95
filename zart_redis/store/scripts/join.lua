-- join: counts those of a group of scheduled steps that have not ended; the last one to end wakes the body.
--
-- takes: id, fence, scope, ack, group, names...
-- returns: 'ok' | 'fenced'
-- emits: nothing
-- repeat: same — a step that already counts for the group is not counted again
-- confirm: yes — the body waits for it
-- memory: allow
local id, fence, scope, ack, group = unpack(ARGV, 2, 6)
if not owns_claim(id, fence, scope, ack) then
  return 'fenced'
end
local key = KEY.groups(id)
for i = 7, #ARGV do
  local name = ARGV[i]
  if redis.call('HEXISTS', KEY.steps(id, scope), name) == 1 then
    local groups = redis.call('HGET', key, GROUP_FIELD.step .. name) or ','
    if not string.find(groups, ',' .. group .. ',', 1, true) then
      redis.call('HSET', key, GROUP_FIELD.step .. name, groups .. group .. ',')
      redis.call('HINCRBY', key, GROUP_FIELD.missing .. group, 1)
    end
  end
end
return 'ok'
