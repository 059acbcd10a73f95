--@include base admit stream timers fence execution
-- retry_step: failed -> running, in the same run: the failure of one step is forgotten, all else that is recorded stays.
--
-- ARGV    id, step, nonce, by ('' nobody said)
-- answer  'retrying' | 'missing' | {'status', status}   the execution has not failed
--         'no step'   no failure of this name is recorded
-- emits   a stream entry
local id, step, nonce, by = unpack(ARGV, 2)
local x = read_execution(id)
local x_key = P .. 'x:' .. id
if x.status == '' then
  return 'missing'
elseif redis.call('HGET', x_key, 'nonce') == nonce then
  return 'retrying'
elseif x.status ~= 'failed' then
  return { 'status', x.status }
end
local body = x.run
local function has_failed(scope)
  local record = redis.call('HGET', P .. 'r:' .. id .. ':' .. scope, step)
  local letter = record and string.sub(record, 1, 1)
  return letter == 'b' or letter == 'z' or letter == 'T'
end
if not has_failed(x.scope) then
  if not has_failed(body) then
    return 'no step'
  end
  -- A step of the body, though its on_failure body failed too: that one is forgotten with it.
  redis.call('DEL', P .. 'r:' .. id .. ':' .. x.scope, P .. 'a:' .. id .. ':' .. x.scope)
  redis.call('HSET', x_key, 'scope', body)
  redis.call('HDEL', x_key, 'failure')
  x.scope = body
end
redis.call('HDEL', P .. 'r:' .. id .. ':' .. x.scope, step)
redis.call('HDEL', x_key, 'error', 'finished')
redis.call('HSET', x_key, 'nonce', nonce, 'since', now(), 'trigger', 'retry_step', 'by', by)
redis.call('ZREM', P .. 'expiring', id)
enqueue(id, x)
move(id, x, 'running')
return 'retrying'
