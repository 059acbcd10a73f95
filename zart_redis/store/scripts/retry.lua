--@include base insist stream timers fence execution log
-- retry: the body has failed and its handler's policy gives it another attempt, after a delay.
--
-- ARGV    id, fence, scope, last, delay ms, note on the attempt, for the log
-- answer  'retrying' | 'fenced'
-- emits   a timer
--
-- Recorded successes stay. Failures do not stand: those of steps, and waits for events that timed out.
local id, fence, scope, last, delay, note = unpack(ARGV, 2)
local x = read_execution(id)
if not is_held(id, x, fence, scope, last) then
  return 'fenced'
end
local r_key = P .. 'r:' .. id .. ':' .. scope
local records = redis.call('HGETALL', r_key)
for i = 1, #records, 2 do
  local letter = string.sub(records[i + 1], 1, 1)
  if letter == 'b' or letter == 'z' or letter == 'T' then
    redis.call('HDEL', r_key, records[i])
  end
end
redis.call('HINCRBY', P .. 'x:' .. id, 'attempt', 1)
redis.call('HDEL', P .. 'x:' .. id, 'crashes', 'progress')
forget_waits(id, x)
redis.call('HSET', P .. 'w:' .. id, '', 'a' .. string.format('%d', now() + tonumber(delay)))
put_down(id, x)
arm(id, x)
log_attempt(id, scope, note)
return 'retrying'
