--@include base insist stream timers fence execution child
-- settle: the final result of a scheduled step. The last one that a group waits for wakes the body; the last one of a
-- body that has returned completes the execution.
--
-- ARGV    id, fence, scope, queue, entry, name, record
-- answer  'settled' | 'fenced'
-- emits   the body's stream entry, or a message to those who wait for the execution
local id, fence, scope, queue, entry, name, record = unpack(ARGV, 2)
local c = read_child(id, scope, name)
if not c or c.fence ~= fence or c.entry ~= entry then
  return 'fenced'
end
local c_key, g_key = P .. 'c:' .. id .. ':' .. scope, P .. 'g:' .. id
redis.call('HSETNX', P .. 'r:' .. id .. ':' .. scope, name, record .. stamp())
redis.call('HDEL', c_key, name)
forget_entry(queue, entry)
local groups = redis.call('HGET', g_key, '=' .. name)
if groups then
  redis.call('HDEL', g_key, '=' .. name)
  for group in string.gmatch(groups, '%d+') do
    if redis.call('HINCRBY', g_key, '#' .. group, -1) == 0 then
      redis.call('HDEL', g_key, '#' .. group)
      wake(id, read_execution(id))
    end
  end
end
local retention = redis.call('HGET', P .. 'x:' .. id, 'finishing')
if retention and redis.call('HLEN', c_key) == 0 then
  complete(id, read_execution(id), 'completed', retention)
end
return 'settled'
