-- release: a worker hands a body back, uncounted; it is queued again, at once or after a delay.
--
-- takes: id, fence, delay
--   delay: ms; '' queues it at once
-- returns: 'released' | 'fenced'
-- emits: a stream entry, or a timer
-- repeat: fenced — the body has been detached
-- confirm: yes — nothing else would queue it until the worker's lease ends
-- memory: allow
local id, fence, delay = unpack(ARGV, 2)
local x = read_execution(id)
if x.fence ~= fence then
  return 'fenced'
end
detach(id, x, free_fence(x.fence))
if delay == '' then
  enqueue(id, x, LANE.returned)
else
  redis.call('ZADD', KEY.waits(id), in_ms(delay), WAIT.unknown_task)
  set_status(id, x, STATUS.scheduled)
  reschedule_timer(id, x)
end
return 'released'
