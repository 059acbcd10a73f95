-- The expiry of a run: it is cancelled unless it has begun by then. The field stays, for a run that turns out not to have
-- begun although a worker has claimed it.

local function set_expiry(id, argument, retention)
  local due = due_at(argument)
  redis.call('HSET', KEY.execution(id), FIELD.expires, due .. ',' .. retention)
  redis.call('ZADD', KEY.waits(id), due, WAIT.expiry)
end

local function stop_expiry(id)
  redis.call('ZREM', KEY.waits(id), WAIT.expiry)
end

-- The worker that had claimed the run has not begun it.
local function resume_expiry(id, x)
  if x.expires ~= '' then
    redis.call('ZADD', KEY.waits(id), string.match(x.expires, '^%d+'), WAIT.expiry)
  end
end

-- Cancels a run that has not begun in time. Returns whether it did.
local function lapse(id, x)
  if x.expires == '' then
    return false
  elseif redis.call('HEXISTS', KEY.execution(id), FIELD.started) == 1 then
    stop_expiry(id) -- a version that knows of no expiry has begun it
    return false
  end
  local due, retention = string.match(x.expires, '^(%d+),(%d+)$')
  if tonumber(due) > now() then
    return false
  end
  redis.call('HSET', KEY.execution(id), FIELD.reason, LAYOUT.expired)
  complete(id, x, STATUS.cancelled, retention)
  return true
end
