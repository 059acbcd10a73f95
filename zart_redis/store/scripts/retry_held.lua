-- retry_held: a worker starts: queues what has been held by other code than its own, in batches.
--
-- takes: code, cursor, limit
--   code: that of the worker
--   cursor: '0' to begin with
-- returns: the next cursor, '0' at the end
-- emits: a stream entry for each
-- repeat: same — what is queued stays as it is
-- confirm: no — what is lost of it is tried again after its delay
-- memory: allow
local code, cursor, limit = unpack(ARGV, 2)
local found = redis.call('HSCAN', KEY.held, cursor, 'COUNT', limit)

local function retry_body(member)
  local id = string.sub(member, 2)
  local x = read_execution(id)
  if is_beyond_us(x.needs) then
    return
  elseif x.unserved ~= '' then
    return -- a worker that can run it takes it
  elseif not is_body_held(id, x) then
    return redis.call('HDEL', KEY.held, member)
  end
  redis.call('ZREM', KEY.waits(id), WAIT.held, WAIT.unknown_task)
  wake(id, x)
  reschedule_timer(id, x)
end

local function retry_step(member)
  local step, id = read_held_step(member)
  if not step then
    redis.call('HDEL', KEY.held, member)
  elseif not step.paused_by and not step.unserved and not is_beyond_us(redis.call('HGET', KEY.execution(id), FIELD.needs)) then
    release_step(member)
  end
end

for i = 1, #found[2], 2 do
  local member = found[2][i]
  if found[2][i + 1] ~= code then
    -- What is damaged is reported where it is claimed or fires.
    failure_of(string.sub(member, 1, 1) == TIMER.execution and retry_body or retry_step, member)
  end
end
return found[1]
