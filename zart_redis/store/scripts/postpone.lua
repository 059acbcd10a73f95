-- postpone: a scheduled step is postponed: its attempt failed and another follows, or its worker hands it back.
--
-- takes: id, fence, scope, queue, entry, name, failed_attempts, delay, note, queued, code, unrunnable
--   delay: ms; '' queues it at once
--   note: on the attempt that failed, for the log; '' if none has
--   queued: ms that it waited on its worker before its clock began; they move its deadline
--   code, unrunnable: identifies the code of the worker, and why that cannot run the step, which is then held; '' if it can
-- returns: 'postponed' | 'fenced'
-- emits: a timer, or a stream entry
-- repeat: fenced — the step has been detached
-- confirm: yes — the count of failed attempts must not get lost
-- memory: allow
local id, fence, scope, queue, entry, name, failed_attempts, delay, note, queued, code, unrunnable = unpack(ARGV, 2)
local step = read_step(id, scope, name)
if not step or step.fence ~= fence or step.entry ~= entry then
  return 'fenced'
end
detach_step(queue, step, free_fence(step.fence))
if step.deadline then
  step.deadline = tonumber(step.deadline) + tonumber(queued)
end
if tonumber(failed_attempts) > (step.failed_attempts or 0) then
  step.failed_attempts, step.blame = tonumber(failed_attempts), nil
end
if unrunnable ~= '' then
  hold_step(step_member(id, scope, name), step, code, unrunnable)
else
  step.holds, step.held_since = nil, nil
end
if delay == '' then
  step.entry = enqueue_step(queue, id, scope, name, step.blame, LANE.returned)
else
  local due = now() + tonumber(delay)
  if step.deadline and unrunnable == '' then -- code that can run it is to fail it
    due = math.min(due, tonumber(step.deadline))
  end
  set_timer(step_member(id, scope, name), due)
end
write_step(id, scope, name, step)
log_attempt(id, scope, note)
return 'postponed'
