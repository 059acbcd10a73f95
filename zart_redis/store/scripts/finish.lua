--@include base insist stream timers fence execution
-- finish: the body has returned -> completed, or waiting for the scheduled steps it did not wait for.
--
-- ARGV    id, fence, scope, last, output, retention ms
-- answer  'completed' | 'waiting' | 'fenced'
-- emits   a message to those who wait for the execution; while it waits, a timer for its deadline
local id, fence, scope, last, output, retention = unpack(ARGV, 2)
local x = read_execution(id)
if not is_held(id, x, fence, scope, last) then
  return 'fenced'
end
redis.call('HSET', P .. 'x:' .. id, 'output', output)
if redis.call('HLEN', P .. 'c:' .. id .. ':' .. scope) > 0 then
  redis.call('HSET', P .. 'x:' .. id, 'finishing', retention)
  forget_waits(id, x)
  put_down(id, x)
  arm(id, x)
  return 'waiting'
end
complete(id, x, 'completed', retention)
return 'completed'
