-- hold: a body needs code that its worker does not have. It is tried again after a delay, or when a worker with other code
-- starts; see `retry_held`.
--
-- takes: id, fence, delay, code, reason, holds, held_since, has_begun
--   delay: ms
--   code: identifies the code of the worker
--   reason: why it cannot run the body
--   holds, held_since: as the claim has returned them
--   has_begun: '1' if other code has begun the run; else it is the task that is unknown, and the run has not begun
-- returns: 'held' | 'fenced'
-- emits: a timer
-- repeat: fenced — the body has been detached
-- confirm: yes — nothing else would queue it until the worker's lease ends
-- memory: allow
local id, fence, delay, code, reason, holds, held_since, has_begun = unpack(ARGV, 2)
local x = read_execution(id)
if x.fence ~= fence then
  return 'fenced'
end
detach(id, x, free_fence(x.fence), FIELD.held, reason, FIELD.holds, tonumber(holds) + 1, FIELD.held_since,
  held_since == '' and now() or held_since)
redis.call('HSET', KEY.held, execution_member(id), code)
if has_begun == '1' or x.scope ~= x.run then
  redis.call('ZADD', KEY.waits(id), in_ms(delay), WAIT.held)
  set_status(id, x, STATUS.waiting)
else
  redis.call('ZADD', KEY.waits(id), in_ms(delay), WAIT.unknown_task)
  redis.call('HDEL', KEY.execution(id), FIELD.started)
  resume_expiry(id, x)
  set_status(id, x, STATUS.scheduled)
end
reschedule_timer(id, x)
return 'held'
