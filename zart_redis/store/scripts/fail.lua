-- fail: running -> failed, or cancelled if it was cancelled and compensates.
--
-- takes: id, fence, scope, ack, err, retention
-- returns: 'failed' | 'fenced'
-- emits: the final status to those who wait for the execution; a stream entry for what gets its slots
-- repeat: fenced — a finished execution has another fence
-- confirm: yes — it is the end of the work
-- memory: allow
local id, fence, scope, ack, err, retention = unpack(ARGV, 2)
local x = read_execution(id)
if not is_held_by(id, x, fence, scope, ack) then
  return 'fenced'
end
if x.compensates == '' or scope ~= x.run then -- else it is cancelled, and no on_failure has failed
  redis.call('HSET', KEY.execution(id), FIELD.error, err)
end
drop_steps(id, x)
complete(id, x, x.compensates == '' and STATUS.failed or STATUS.cancelled, retention)
return 'failed'
