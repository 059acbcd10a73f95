-- set_deadline: sets the deadline of an execution whose starter did not know its handler's timeout; the first one is kept.
--
-- takes: id, fence, timeout
--   timeout: ms since the start, or since `retry_step` resumed it
-- returns: 'ok' | 'fenced'
-- emits: a timer
-- repeat: same — the first deadline is kept
-- confirm: yes — the body runs under it
-- memory: allow
local id, fence, timeout = unpack(ARGV, 2)
local x = read_execution(id)
if x.fence ~= fence then
  return 'fenced'
end
if x.deadline == '' then
  local since = redis.call('HGET', KEY.execution(id), FIELD.resumed_at) or x.created
  set_deadline(id, x, tonumber(since) + tonumber(timeout))
  reschedule_timer(id, x)
end
return 'ok'
