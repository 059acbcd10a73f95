-- cancel: live -> cancelled, or running an on_failure body before. Nothing else starts after it, and what still runs can
-- change nothing.
--
-- takes: id, retention, nonce, reason, compensate
--   reason: '' for none
--   compensate: '1' if an execution that has begun runs its on_failure body before it ends
-- returns: 'cancelled' | 'missing' | {'finished', status} | {'needs', features}
-- emits: the final status to those who wait for the execution; a revoke to the worker that holds it;
--   a stream entry for what gets its slots
-- repeat: nonce — the nonce that ended it returns 'cancelled' again
-- confirm: yes — the caller relies on it
-- memory: allow
local id, retention, nonce, reason, compensate = unpack(ARGV, 2)
local x = read_execution(id)
if x.status == '' then
  return 'missing'
elseif not is_live(x.status) then
  local same = redis.call('HGET', KEY.execution(id), FIELD.end_nonce) == nonce
  return same and 'cancelled' or { 'finished', x.status }
elseif is_beyond_us(x.needs) then
  return { 'needs', x.needs }
elseif x.compensates ~= '' and compensate == '1' then
  local same = redis.call('HGET', KEY.execution(id), FIELD.end_nonce) == nonce
  return same and 'cancelled' or { 'finished', STATUS.cancelled }
end
redis.call('HSET', KEY.execution(id), FIELD.end_nonce, nonce)
if reason ~= '' then
  redis.call('HSET', KEY.execution(id), FIELD.reason, reason)
end
if compensate ~= '1' or redis.call('HEXISTS', KEY.execution(id), FIELD.started) == 0 then
  cancel_run(id, x, retention)
  return 'cancelled'
end
redis.call('HSET', KEY.execution(id), FIELD.compensates, '1')
require_feature(id, FEATURE.compensation)
if x.scope == x.run then -- else its on_failure body runs already
  return_messages(id, x)
  take_to_fail(id, x, FAIL_REASON.cancelled)
end
return 'cancelled'
