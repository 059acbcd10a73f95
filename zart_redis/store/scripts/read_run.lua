-- read_run: what is stored of one run, at one moment.
--
-- takes: id, run
-- returns: {events (flat), body, on_failure body}; a body is {records (flat), scheduled steps that have not ended (name,
--   {failed attempts, why its worker could not run it, the id of its child}), log}
-- emits: nothing
-- repeat: read — nothing is written
-- confirm: no — nothing is written
-- memory: none
local id, run = unpack(ARGV, 2)

local function read_body(scope)
  local steps = redis.call('HGETALL', KEY.steps(id, scope))
  for i = 2, #steps, 2 do
    local step = unpack_step(steps[i])
    steps[i] = { step.failed_attempts or 0, step.unrunnable or '', step.child or '' }
  end
  return { redis.call('HGETALL', KEY.records(id, scope)), steps, redis.call('LRANGE', KEY.attempts(id, scope), 0, -1) }
end

return { redis.call('HGETALL', KEY.events(id, run)), read_body(run), read_body(run .. 'f') }
