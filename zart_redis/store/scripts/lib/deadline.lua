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

local function expire_deadline(id, x)
  drop_steps(id, x)
  redis.call('HDEL', KEY.execution(id), FIELD.deadline, FIELD.pending_retention, FIELD.blame)
  redis.call('HSET', KEY.execution(id), FIELD.fail_reason, FAIL_REASON.deadline)
  x.deadline, x.blame, x.fail_reason = '', '', FAIL_REASON.deadline
end
