--@include base insist stream timers fence execution
-- limit: sets the deadline of an execution whose starter did not know its handler's timeout; the first one stands.
--
-- ARGV    id, fence, timeout ms, counted from its start, or from when it was last taken up again (retry_step)
-- answer  'ok' | 'fenced'
-- emits   a timer
local id, fence, timeout = unpack(ARGV, 2)
local x = read_execution(id)
if x.fence ~= fence then
  return 'fenced'
end
if x.deadline == '' then
  x.deadline = string.format('%d', tonumber(redis.call('HGET', P .. 'x:' .. id, 'since') or x.created) + tonumber(timeout))
  redis.call('HSET', P .. 'x:' .. id, 'deadline', x.deadline)
  arm(id, x)
end
return 'ok'
