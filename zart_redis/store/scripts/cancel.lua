--@include base insist stream timers fence execution child
-- cancel: live -> cancelled. Nothing begins after it, and what still runs can change nothing.
--
-- ARGV    id, retention ms, nonce
-- answer  'cancelled' | 'missing' | {'finished', status}
-- emits   a message to those who wait for the execution, and to the worker that holds it
local id, retention, nonce = unpack(ARGV, 2)
local x = read_execution(id)
if x.status == '' then
  return 'missing'
elseif not is_live(x.status) then
  local same = redis.call('HGET', P .. 'x:' .. id, 'ended_by') == nonce
  return same and 'cancelled' or { 'finished', x.status }
end
redis.call('HSET', P .. 'x:' .. id, 'ended_by', nonce)
signal_owner(x.fence, 'drop', x.entry)
drop_children(id, x)
complete(id, x, 'cancelled', retention)
return 'cancelled'
