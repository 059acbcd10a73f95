-- read_execution: one execution at one moment.
--
-- takes: id
-- returns: {fields (flat), waits (with their due times), pairs of some of the scheduled steps that it waits for and why the
--   last worker could not run each, or '', the counter of a limit that it waits for and how many are before it, or ''} | false
-- emits: nothing
-- repeat: read — nothing is written
-- confirm: no — nothing is written
-- memory: none
local id = unpack(ARGV, 2)
local fields = redis.call('HGETALL', KEY.execution(id))
if #fields == 0 then
  return false
end
local awaited = redis.call('HSCAN', KEY.groups(id), '0', 'MATCH', GROUP_FIELD.step .. '*', 'COUNT', 20)[2]
local scope = redis.call('HGET', KEY.execution(id), FIELD.scope) or ''
for i = 1, #awaited, 2 do
  awaited[i] = string.sub(awaited[i], 2)
  local readable, step = pcall(read_step, id, scope, awaited[i])
  awaited[i + 1] = readable and step and step.unrunnable or ''
end
local counter, before = '', ''
local readable, gates = pcall(read_gates, redis.call('HGET', KEY.execution(id), FIELD.limits) or LAYOUT.unknown_counters)
if readable and gates.asked > gates.held then
  counter = gates.counters[gates.asked]
  before = redis.call('ZRANK', KEY.line(counter), execution_member(id)) or ''
end
return { fields, redis.call('ZRANGE', KEY.waits(id), 0, -1, 'WITHSCORES'), awaited, counter, before }
