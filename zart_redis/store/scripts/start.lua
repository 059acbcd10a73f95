--@include base admit stream timers fence execution child run
-- start: nothing or a finished run -> scheduled.
--
-- ARGV    id, task, queue, input, delay ms ('' at once), timeout ms ('' none), nonce, by ('' nobody said)
-- answer  {'started', run}
--         {'exists', status}   the id is live
-- emits   a stream entry, or a timer if delayed
--
-- A command whose reply was lost is sent again with the same nonce and gets the same answer.
local id, task, queue, input, delay, timeout, nonce, by = unpack(ARGV, 2)
local old = redis.call('HMGET', P .. 'x:' .. id, 'status', 'run', 'nonce', 'fence')
local number, fence
if old[1] then
  if old[3] == nonce then
    return { 'started', old[2] }
  end
  if is_live(old[1]) then
    return { 'exists', old[1] }
  end
  number, fence = tonumber(old[2]) + 1, old[4] or '0@'
  archive(id)
else
  -- Above the epochs that an execution of this id may have had before it was purged.
  number, fence = 1, (redis.call('GET', P .. 'epoch') or '0') .. '@'
end
begin_run(id, { number = number, fence = fence, task = task, queue = queue, input = input, nonce = nonce, trigger = '',
  by = by, delay = delay, timeout = timeout })
return { 'started', number }
