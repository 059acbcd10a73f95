-- read_runs: runs of an execution, in batches of 200, those of a batch in any order.
--
-- takes: id, before
--   before: the number of the run before which to begin; '' for the newest
-- returns: {the lowest number that was looked at, then the fields (flat) of each run}; empty if there is no such execution
-- emits: nothing
-- repeat: read — nothing is written
-- confirm: no — nothing is written
-- memory: none
local id, before = unpack(ARGV, 2)
local RUNS_IN_BATCH = 200
local reply = {}
if before == '' then
  local fields = redis.call('HGETALL', KEY.execution(id))
  if #fields == 0 then
    return reply
  end
  before = redis.call('HGET', KEY.execution(id), FIELD.run)
  reply[2] = fields
  if redis.call('HLEN', KEY.history(id)) <= RUNS_IN_BATCH then -- whatever their numbers are
    reply[1] = 1
    for _, packed in ipairs(redis.call('HVALS', KEY.history(id))) do
      reply[#reply + 1] = cmsgpack.unpack(packed)
    end
    return reply
  end
end
local first = math.max((tonumber(before) or 1) - RUNS_IN_BATCH, 1)
reply[1] = first
for run = (tonumber(before) or 1) - 1, first, -1 do
  local packed = redis.call('HGET', KEY.history(id), run)
  if packed then
    reply[#reply + 1] = cmsgpack.unpack(packed)
  end
end
return reply
