--@include base insist stream timers fence execution child log
-- postpone: a scheduled step is put off: its attempt failed and another follows, or its worker hands it back.
--
-- ARGV    id, fence, scope, queue, entry, name, failed attempts, delay ms ('' queues it at once),
--         note on the attempt that has failed, for the log ('' none has), why its worker cannot run it ('' it can)
-- answer  'postponed' | 'fenced'
-- emits   a timer, or a stream entry
local id, fence, scope, queue, entry, name, attempts, delay, note, why = unpack(ARGV, 2)
local c = read_child(id, scope, name)
if not c or c.fence ~= fence or c.entry ~= entry then
  return 'fenced'
end
forget_entry(queue, entry)
c.fence, c.why = free_fence(c.fence), why
if tonumber(attempts) > c.attempts then
  c.attempts, c.crashes = tonumber(attempts), 0
end
if delay == '' then
  c.entry = enqueue_child(queue, id, scope, name, BACK)
else
  c.entry = ''
  local due = now() + tonumber(delay)
  if c.deadline ~= '' then
    due = math.min(due, tonumber(c.deadline))
  end
  set_timer(child_member(id, scope, name), due)
end
write_child(id, scope, name, c)
log_attempt(id, scope, note)
return 'postponed'
