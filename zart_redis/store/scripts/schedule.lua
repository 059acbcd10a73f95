-- schedule: queues steps for any worker. Those already scheduled or recorded are left as they are.
--
-- takes: id, fence, scope, ack, queue, steps...
--   steps: of four each: name, spec, timeout in ms or '', its queue or '' for that of the execution
-- returns: 'ok' | 'fenced'
-- emits: a stream entry for each step
-- repeat: same — a step that is scheduled or recorded is left as it is
-- confirm: yes — the body builds on it
-- memory: reject
local id, fence, scope, ack, queue = unpack(ARGV, 2, 6)
if not owns_claim(id, fence, scope, ack) then
  return 'fenced'
end
for i = 7, #ARGV, 4 do
  local name, own_queue = ARGV[i], ARGV[i + 3] ~= '' and ARGV[i + 3] or nil
  if redis.call('HEXISTS', KEY.steps(id, scope), name) == 0
    and redis.call('HEXISTS', KEY.records(id, scope), name) == 0 then
    write_step(id, scope, name, { [STEP.spec] = ARGV[i + 1], [STEP.entry] = enqueue_step(own_queue or queue, id, scope, name),
      [STEP.fence] = '0@', [STEP.timeout] = ARGV[i + 2] ~= '' and ARGV[i + 2] or nil, [STEP.queue] = own_queue })
    if own_queue then
      redis.call('SADD', KEY.queues, own_queue) -- no execution need be started on it
    end
  end
end
return 'ok'
