--@include base admit stream timers fence execution
-- deliver: an event for an execution; the first one of a name stands for the whole run.
--
-- ARGV    id, name, payload, nonce (8 bytes)
-- answer  'delivered' | 'buffered' | 'duplicate' | 'missing' | {'finished', status}
-- emits   the body's stream entry, if it waits for this
--
-- e:<id>:<run> holds name -> nonce, 'D' or 'B', the time, the payload. A command sent again after its reply was lost
-- carries the same nonce and gets the same answer.
local id, name, payload, nonce = unpack(ARGV, 2)
local x = read_execution(id)
if x.status == '' then
  return 'missing'
end
local e_key, w_key = P .. 'e:' .. id .. ':' .. x.run, P .. 'w:' .. id
local words = { D = 'delivered', B = 'buffered' }
local existing = redis.call('HGET', e_key, name)
if existing and string.sub(existing, 1, 8) == nonce then
  return words[string.sub(existing, 9, 9)]
elseif not is_live(x.status) then
  return { 'finished', x.status }
elseif existing then
  return 'duplicate'
end
local letter = 'B'
local wait = redis.call('HGET', w_key, name)
local awaited = wait and string.sub(wait, 1, 1) == 'w' -- by this name it may also sleep, or be paused
if awaited then
  local due = tonumber(string.sub(wait, 2))
  redis.call('HDEL', w_key, name)
  if due and due <= now() then
    -- Too late, though its timer has not been run yet: Redis keeps the time.
    redis.call('HSET', P .. 'r:' .. id .. ':' .. x.scope, name, 'T' .. stamp())
  else
    letter = 'D'
  end
end
redis.call('HSET', e_key, name, nonce .. letter .. stamp() .. payload)
if awaited then
  wake(id, x)
  arm(id, x)
end
return words[letter]
