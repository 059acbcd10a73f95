--@include base insist stream timers fence execution child
-- compensate: the body has failed; its on_failure body begins, in the same worker's hands, with records of its own.
--
-- ARGV    id, fence, known, failure
-- answer  the new scope | 'fenced'
local id, fence, known, failure = unpack(ARGV, 2)
local x = read_execution(id)
if not is_held(x, fence, known) then
  return 'fenced'
end
local x_key = P .. 'x:' .. id
drop_children(id, x)
forget_waits(id, x)
redis.call('HDEL', x_key, 'deadline', 'doom', 'crashes', 'progress')
redis.call('HSET', x_key, 'failure', failure, 'scope', x.run .. 'f')
count_turn(id)
return x.run .. 'f'
