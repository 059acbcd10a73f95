-- retry: the body has failed, and its handler's policy grants another attempt after a delay.
--
-- takes: id, fence, scope, ack, delay, note
--   note: on the attempt, for the log
-- returns: 'retrying' | 'fenced'
-- emits: a timer
-- repeat: fenced — the body has been detached
-- confirm: yes — the count of attempts must not get lost
-- memory: allow
--
-- Recorded successes stay; failures of steps, event timeouts and timers are deleted: the clock of the body starts again.
local id, fence, scope, ack, delay, note = unpack(ARGV, 2)
local x = read_execution(id)
if not is_held_by(id, x, fence, scope, ack) then
  return 'fenced'
end
local records = redis.call('HGETALL', KEY.records(id, scope))
for i = 1, #records, 2 do
  if is_failure(records[i + 1]) or kind_of(records[i + 1]) == RECORD.fired then
    redis.call('HDEL', KEY.records(id, scope), records[i])
  end
end
redis.call('HINCRBY', KEY.execution(id), FIELD.attempt, 1)
redis.call('HDEL', KEY.execution(id), FIELD.blame, FIELD.parked_at, FIELD.emitted)
redis.call('HSET', KEY.execution(id), FIELD.clock_base, in_ms(delay))
clear_waits(id, x)
redis.call('ZADD', KEY.waits(id), in_ms(delay), WAIT.retry)
park_body(id, x)
reschedule_timer(id, x)
log_attempt(id, scope, note)
return 'retrying'
