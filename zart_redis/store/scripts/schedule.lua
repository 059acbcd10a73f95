--@include base admit stream timers fence execution child
-- schedule: steps for any worker of the queue. Those already scheduled or recorded are left as they are.
--
-- ARGV    id, fence, scope, last, queue, then triples (name, spec, timeout ms or '')
-- answer  'ok' | 'fenced'
-- emits   a stream entry a step
local id, fence, scope, last, queue = unpack(ARGV, 2, 6)
if not holds(id, fence, scope, last) then
  return 'fenced'
end
for i = 7, #ARGV, 3 do
  local name = ARGV[i]
  if redis.call('HEXISTS', P .. 'c:' .. id .. ':' .. scope, name) == 0
    and redis.call('HEXISTS', P .. 'r:' .. id .. ':' .. scope, name) == 0 then
    write_child(id, scope, name, { spec = ARGV[i + 1], entry = enqueue_child(queue, id, scope, name), fence = '0@',
      attempts = 0, deadline = '', timeout = ARGV[i + 2], crashes = 0 })
  end
end
return 'ok'
