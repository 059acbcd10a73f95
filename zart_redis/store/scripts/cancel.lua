-- cancel: live -> cancelled. Nothing starts after it, and what still runs can change nothing.
--
-- takes: id, retention, nonce, reason
--   reason: '' for none
-- returns: 'cancelled' | 'missing' | {'finished', status} | {'needs', features}
-- emits: the final status to those who wait for the execution; a revoke to the worker that holds it;
--   a stream entry for what gets its slots
-- repeat: nonce — the nonce that ended it returns 'cancelled' again
-- confirm: yes — the caller relies on it
-- memory: allow
local id, retention, nonce, reason = unpack(ARGV, 2)
local x = read_execution(id)
if x.status == '' then
  return 'missing'
elseif not is_live(x.status) then
  local same = redis.call('HGET', KEY.execution(id), FIELD.end_nonce) == nonce
  return same and 'cancelled' or { 'finished', x.status }
elseif is_beyond_us(x.needs) then
  return { 'needs', x.needs }
end
redis.call('HSET', KEY.execution(id), FIELD.end_nonce, nonce)
if reason ~= '' then
  redis.call('HSET', KEY.execution(id), FIELD.reason, reason)
end
cancel_run(id, x, retention)
return 'cancelled'
