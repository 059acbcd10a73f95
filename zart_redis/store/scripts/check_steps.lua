-- check_steps: looks for scheduled steps of one execution that nothing holds, in batches; queues them again if asked.
--
-- takes: repair, id, cursor
--   repair: '1' to repair
--   cursor: as returned by the call before; '0' to begin
-- returns: {cursor, '0' at the end, then names of such steps}
-- emits: a stream entry for each, when repairing
-- repeat: same — what is repaired is not found again
-- confirm: no — a lost repair is found again
-- memory: allow
local repair, id, cursor = unpack(ARGV, 2)
local x = read_execution(id)
if not is_live(x.status) or is_beyond_us(x.needs) then
  return { '0' }
end
local scanned = redis.call('HSCAN', KEY.steps(id, x.scope), cursor, 'COUNT', STEPS_IN_BATCH)
local reply = { scanned[1] }
for i = 1, #scanned[2], 2 do
  if is_step_lost(id, x, scanned[2][i], repair == '1') then
    reply[#reply + 1] = scanned[2][i]
  end
end
return reply
