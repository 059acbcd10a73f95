-- deliver: an event for an execution. The first event of a name counts for the whole run.
--
-- takes: id, name, payload, nonce
-- returns: 'delivered' | 'buffered' | 'duplicate' | 'missing' | {'finished', status} | 'again'
-- emits: the body's stream entry, if it waits for this event
-- repeat: nonce — the nonce is kept in the event, and returns the same word again
-- confirm: yes — the caller relies on it
-- memory: reject
local id, name, payload, nonce = unpack(ARGV, 2)
local x = read_execution(id)
if x.status == '' then
  return 'missing'
end
local WORDS = { [DELIVERED.awaited] = 'delivered', [DELIVERED.buffered] = 'buffered' }
local existing = redis.call('HGET', KEY.events(id, x.run), name)
if existing and string.sub(existing, 1, SIZE.nonce) == nonce then
  return WORDS[string.sub(existing, SIZE.nonce + 1, SIZE.nonce + 1)]
elseif not is_live(x.status) then
  return { 'finished', x.status }
elseif existing then
  return 'duplicate'
end
if not catch_up(id, x) then
  return 'again'
end
local letter = DELIVERED.buffered
if redis.call('ZREM', KEY.waits(id), WAIT.event .. name) == 1 then
  letter = DELIVERED.awaited
end
local number = next_number(id)
redis.call('HSET', KEY.events(id, x.run), name, nonce .. letter .. stamp(number) .. payload)
announce(id, x, number, NEWS.event, name)
if letter == DELIVERED.awaited then
  wake(id, x)
  reschedule_timer(id, x)
end
return WORDS[letter]
