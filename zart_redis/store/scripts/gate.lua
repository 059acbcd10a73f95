-- gate: the worker that has claimed a run for the first time has found out under which limits it begins. The run stays with it
-- if it gets its slots at once; else it waits in a line.
--
-- takes: id, fence, limits
--   limits: as for `start`
-- returns: 'admitted' | 'waiting' | 'fenced'
-- emits: a timer, if it is a rate that it waits for, or if it expires
-- repeat: fenced — a body that waits has another fence; one that was admitted is left as it is
-- confirm: yes — nothing else would keep the run within its limits
-- memory: allow
local id, fence, limits = unpack(ARGV, 2)
local x = read_execution(id)
if x.fence ~= fence then
  return 'fenced'
elseif x.limits ~= LAYOUT.unknown_counters then
  return 'admitted'
end
local gates = new_gates(limits)
local is_in = pass(gates, execution_member(id))
redis.call('HSET', KEY.execution(id), FIELD.limits, write_gates(gates))
require_feature(id, FEATURE.limits)
if is_in then
  return 'admitted'
end
detach(id, x, free_fence(x.fence))
redis.call('HDEL', KEY.execution(id), FIELD.started)
set_status(id, x, STATUS.scheduled)
resume_expiry(id, x)
if x.expires ~= '' then
  reschedule_timer(id, x)
end
return 'waiting'
