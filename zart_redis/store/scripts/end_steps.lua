-- end_steps: the body does not wait for scheduled steps and children any more: they are taken back, with results that say so.
-- Those that have ended keep their results.
--
-- takes: id, fence, scope, ack, steps...
--   steps: pairs (name, record)
-- returns: 'ok' | 'fenced' | 'again' if something else must be completed first
-- emits: a revoke to workers that hold such a step; a timer for a child that is to be cancelled; the body's stream entry
-- repeat: same — what has a record is left as it is
-- confirm: yes — the body builds on it
-- memory: allow
local id, fence, scope, ack = unpack(ARGV, 2, 5)
local x = read_execution(id)
if not is_held_by(id, x, fence, scope, ack) then
  return 'fenced'
end
if not catch_up(id, x) then
  return 'again'
end
for i = 6, #ARGV, 2 do
  local name, record = ARGV[i], ARGV[i + 1]
  local packed = redis.call('HGET', KEY.steps(id, scope), name)
  if packed then
    drop_step(id, scope, name, x.queue, packed, false)
    forget_step(id, scope, name, unpack_step(packed))
  end
  record_step(id, x, scope, name, record)
  leave_groups(id, x, name)
end
return 'ok'
