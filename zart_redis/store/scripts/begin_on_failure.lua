-- begin_on_failure: the body has failed; its on_failure body begins, held by the same worker, with separate records.
--
-- takes: id, fence, scope, ack, failure
-- returns: the new scope, the time of its clock at the beginning, the number of the newest completion | 'fenced'
-- emits: a revoke to workers that hold steps that the body scheduled
-- repeat: same — the fence in the new scope returns the scope again
-- confirm: yes — the on_failure body builds on it
-- memory: allow
local id, fence, scope, ack, failure = unpack(ARGV, 2)
local x = read_execution(id)

local function reply()
  local fields = redis.call('HMGET', KEY.execution(id), FIELD.clock_base, FIELD.completions)
  return { x.run .. 'f', tonumber(fields[1]), tonumber(fields[2] or 0) }
end

if x.fence == fence and x.scope == x.run .. 'f' then
  return reply()
elseif not is_held_by(id, x, fence, scope, ack) then
  return 'fenced'
end
drop_steps(id, x)
clear_waits(id, x)
redis.call('HDEL', KEY.execution(id), FIELD.deadline, FIELD.fail_reason, FIELD.blame, FIELD.parked_at,
  FIELD.emitted)
redis.call('HSET', KEY.execution(id), FIELD.failure, failure, FIELD.scope, x.run .. 'f', FIELD.clock_base, now())
return reply()
