--@include base insist stream timers fence execution child
-- fail: running -> failed, for good.
--
-- ARGV    id, fence, scope, last, error, retention ms
-- answer  'failed' | 'fenced'
-- emits   a message to those who wait for the execution
local id, fence, scope, last, err, retention = unpack(ARGV, 2)
local x = read_execution(id)
if not is_held(id, x, fence, scope, last) then
  return 'fenced'
end
redis.call('HSET', P .. 'x:' .. id, 'error', err)
drop_children(id, x)
complete(id, x, 'failed', retention)
return 'failed'
