-- The deadline of an execution: `deadline` while its clock runs, `paused_deadline_ms` (what is left) while a pause rule has
-- stopped it. It is set once in a run, by the first caller that knows the handler's timeout; at the end the next worker that
-- claims the body fails it, through its on_failure body if it has one.

local function set_deadline(id, x, due)
  x.deadline = string.format('%d', due)
  redis.call('HSET', KEY.execution(id), FIELD.deadline, x.deadline)
end

local function stop_deadline(id, x)
  if x.deadline ~= '' then
    redis.call('HSET', KEY.execution(id), FIELD.paused_deadline_ms, tonumber(x.deadline) - now())
    redis.call('HDEL', KEY.execution(id), FIELD.deadline)
    x.deadline = ''
  end
end

-- `left` is what the field `paused_deadline_ms` holds, false if the clock was not stopped.
local function resume_deadline(id, x, left)
  if left then
    set_deadline(id, x, now() + tonumber(left))
    redis.call('HDEL', KEY.execution(id), FIELD.paused_deadline_ms)
  end
end

local function has_expired(x)
  return x.deadline ~= '' and tonumber(x.deadline) <= now()
end

-- The next worker that claims the body fails it for this reason.
local function set_fail_reason(id, x, reason)
  drop_steps(id, x)
  redis.call('HDEL', KEY.execution(id), FIELD.deadline, FIELD.pending_retention, FIELD.blame)
  redis.call('HSET', KEY.execution(id), FIELD.fail_reason, reason)
  x.deadline, x.blame, x.fail_reason = '', '', reason
end

-- Takes an execution away from whatever holds it, and queues it for a worker that fails it.
local function take_to_fail(id, x, reason)
  notify_worker(x.fence, SIGNAL.revoke, x.queue, x.entry)
  clear_waits(id, x)
  release_from_pause(id, x)
  set_fail_reason(id, x, reason)
  detach(id, x, next_fence(x.fence, ''))
  if x.limits ~= '' and not is_admitted(x.limits) then -- it is failed without
    leave_limits(id, x)
    redis.call('HDEL', KEY.execution(id), FIELD.limits)
  end
  enqueue(id, x)
  if x.status == STATUS.waiting then
    set_status(id, x, STATUS.running)
  end
end
