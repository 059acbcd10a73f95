-- finish: the body has returned -> completed, or waiting for the scheduled steps that it did not wait for.
--
-- takes: id, fence, scope, ack, output, retention
-- returns: 'completed' | 'waiting' | 'fenced'
-- emits: the final status to those who wait for the execution; a timer for its deadline while it waits;
--   a stream entry for what gets its slots
-- repeat: fenced — the body has been detached
-- confirm: yes — it is the end of the work
-- memory: allow
local id, fence, scope, ack, output, retention = unpack(ARGV, 2)
local x = read_execution(id)
if not is_held_by(id, x, fence, scope, ack) then
  return 'fenced'
end
if x.compensates == '' then
  redis.call('HSET', KEY.execution(id), FIELD.output, output)
end
if is_done_with_steps(id, x) then
  complete(id, x, final_status(x), retention)
  return 'completed'
end
redis.call('HSET', KEY.execution(id), FIELD.pending_retention, retention)
clear_waits(id, x)
forgive(id, x)
park_body(id, x)
reschedule_timer(id, x)
return 'waiting'
