--@include base insist stream timers fence execution child
-- compensate: the body has failed; its on_failure body begins, in the same worker's hands, with records of its own.
--
-- ARGV    id, fence, scope, last, failure
-- answer  the new scope | 'fenced'
local id, fence, scope, last, failure = unpack(ARGV, 2)
local x = read_execution(id)
if x.fence == fence and x.scope == x.run .. 'f' then
  return x.scope -- sent again
elseif not is_held(id, x, fence, scope, last) then
  return 'fenced'
end
local x_key = P .. 'x:' .. id
drop_children(id, x)
forget_waits(id, x)
redis.call('HDEL', x_key, 'deadline', 'doom', 'crashes', 'progress')
redis.call('HSET', x_key, 'failure', failure, 'scope', x.run .. 'f')
return x.run .. 'f'
