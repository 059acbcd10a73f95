-- Work that needs code which its worker did not have. It is held: postponed with growing delays, and brought up again when a
-- worker with other code starts.

-- A held body is claimed, or ends.
local function end_hold(id)
  local bucket, version = unpack(redis.call('HMGET', KEY.execution(id), FIELD.bucket, FIELD.unserved))
  if version then
    remove_unserved(execution_member(id), bucket, version)
    redis.call('HDEL', KEY.execution(id), FIELD.unserved)
  end
  redis.call('HDEL', KEY.execution(id), FIELD.held, FIELD.holds, FIELD.held_since)
  redis.call('HDEL', KEY.held, execution_member(id))
  redis.call('ZREM', KEY.waits(id), WAIT.held, WAIT.unknown_task)
end

-- Whether a body is held now. A version that knows nothing of holds may have continued it.
local function is_body_held(id, x)
  return is_live(x.status) and x.held ~= '' and (x.entry ~= '' and not owner_of(x.fence) or x.paused_by ~= ''
    or redis.call('ZSCORE', KEY.waits(id), WAIT.held) or redis.call('ZSCORE', KEY.waits(id), WAIT.unknown_task))
end

local function hold_step(member, step, code, reason)
  step.unrunnable, step.holds, step.held_since = reason, (step.holds or 0) + 1, step.held_since or now()
  if not (step.blame or step.failed_attempts and step.failed_attempts > 0) then
    step.deadline = nil -- its clock begins with its first attempt
  end
  redis.call('HSET', KEY.held, member, code)
end

-- Queues a scheduled step that a timer, or something else that this ends, has kept out of its queue.
local function release_step(member)
  redis.call('ZREM', KEY.timers, member)
  local id, scope, name = unpack(cjson.decode(string.sub(member, 2)))
  local step = read_step(id, scope, name)
  if step and not step.entry then
    step.paused_by = nil
    step.entry = enqueue_step(queue_of_step(id, step), id, scope, name, step.blame)
    write_step(id, scope, name, step)
  end
end

-- The scheduled step that is held under this name; nil if none is.
local function read_held_step(member)
  local id, scope, name = unpack(cjson.decode(string.sub(member, 2)))
  local step = read_step(id, scope, name)
  return step and step.unrunnable and step, id
end
