-- The fence: "<epoch>@<worker>" while a worker holds the work, "<epoch>@" while none does.
--
-- Redis can lose acknowledged writes (a crash without fsync, a failover), always the newest first. So each transition
-- carries the last write that its worker saw acknowledged since its claim. If that write is missing, the transition is
-- refused like a stale fence, and the body replays from what is left. `ACK` names the kinds of writes.

local function is_still_recorded(id, scope, ack)
  if ack == '' then
    return true
  end
  local kind, name = string.sub(ack, 1, 1), string.sub(ack, 2)
  if kind == ACK.signalled then
    return (tonumber(redis.call('HGET', KEY.execution(id), FIELD.signalled_at) or 0) or 0) >= tonumber(name)
  end
  local record = redis.call('HGET', KEY.records(id, scope), name)
  if kind == ACK.record then
    return record and string.sub(record, 1, 1) ~= RECORD.attempts
  end
  return record or (kind == ACK.step and redis.call('HEXISTS', KEY.steps(id, scope), name) == 1)
end

-- Whether a worker that shows this fence still holds the body.
local function owns_claim(id, fence, scope, ack)
  local current = redis.call('HMGET', KEY.execution(id), FIELD.fence, FIELD.scope)
  return current[1] == fence and current[2] == scope and is_still_recorded(id, scope, ack)
end

-- A corrupt epoch is assumed to be below the current time in ms, so that the next one still exceeds it.
local function epoch_of(fence)
  return tonumber(string.match(fence or '', '^%d+') or now())
end

-- The fence of the next claim, by `worker` ('' for none). Its epoch exceeds the last one, and follows the time: Redis may
-- have lost that the next number was already given out.
local function next_fence(fence, worker)
  return string.format('%d@%s', math.max(epoch_of(fence) + 1, now()), worker)
end

local function free_fence(fence)
  return string.format('%d@', epoch_of(fence))
end

local function owner_of(fence)
  return string.match(fence, '@(.+)$')
end
