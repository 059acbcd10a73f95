--@include base insist stream timers fence execution
-- release: a worker hands a body back, uncounted; it is queued again, or after a delay if no worker here knows its task.
--
-- ARGV    id, fence, delay ms ('' at once)
-- answer  'released' | 'fenced'
-- emits   a stream entry, or a timer
local id, fence, delay = unpack(ARGV, 2)
local x = read_execution(id)
if x.fence ~= fence then
  return 'fenced'
end
forget_entry(x.queue, x.entry)
x.entry = ''
redis.call('HSET', P .. 'x:' .. id, 'fence', free_fence(x.fence), 'entry', '')
if delay == '' then
  enqueue(id, x, BACK)
else
  redis.call('HSET', P .. 'w:' .. id, '', 'u' .. string.format('%d', now() + tonumber(delay)))
  move(id, x, 'scheduled')
  arm(id, x)
end
return 'released'
