-- retry_step: failed -> running, in the same run: the failure of one step is deleted, all other records stay.
--
-- takes: id, failed_step, nonce, triggered_by
-- returns: 'retrying' | 'missing' | {'status', status} if the execution has not failed | 'no step' if no failure of this
--   name is recorded | {'needs', features}
-- emits: a stream entry, once it has a slot of each of its limits
-- repeat: nonce — the nonce that resumed it returns 'retrying' again
-- confirm: yes — the caller relies on it
-- memory: reject
local id, failed_step, nonce, triggered_by = unpack(ARGV, 2)
local x = read_execution(id)
local x_key = KEY.execution(id)
if x.status == '' then
  return 'missing'
elseif redis.call('HGET', x_key, FIELD.nonce) == nonce then
  return 'retrying'
elseif x.status ~= STATUS.failed then
  return { 'status', x.status }
elseif is_beyond_us(x.needs) then
  return { 'needs', x.needs }
end

local function has_failed(scope)
  local record = redis.call('HGET', KEY.records(id, scope), failed_step)
  return record and is_failure(record)
end

if not has_failed(x.scope) then
  if not has_failed(x.run) then
    return 'no step'
  end
  -- A step of the body, although its on_failure body failed as well: what that one recorded is deleted.
  redis.call('DEL', KEY.records(id, x.scope), KEY.attempts(id, x.scope))
  redis.call('HSET', x_key, FIELD.scope, x.run)
  redis.call('HDEL', x_key, FIELD.failure)
  x.scope = x.run
end
redis.call('HDEL', KEY.records(id, x.scope), failed_step)
redis.call('HDEL', x_key, FIELD.error, FIELD.finished, FIELD.emitted)
redis.call('HSET', x_key, FIELD.nonce, nonce, FIELD.resumed_at, now(), FIELD.clock_base, now(), FIELD.trigger,
  TRIGGER.retry_step, FIELD.triggered_by, triggered_by)
redis.call('ZREM', KEY.expiring, id)
if x.limits ~= '' then
  ask_again(id, x)
else
  enqueue(id, x)
end
set_status(id, x, x.entry ~= '' and STATUS.running or STATUS.scheduled)
return 'retrying'
