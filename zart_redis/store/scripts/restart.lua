--@include base admit stream timers fence execution child run
-- restart: any state -> scheduled, in a new run from nothing. A body of the old run is fenced off.
--
-- ARGV    id, input, '1' if the old input is to be used, timeout ms ('' none), nonce, by ('' nobody said)
-- answer  {'restarted', run} | 'missing'
-- emits   a stream entry; a message to those who wait for the old run, and to the worker that holds it
local id, input, same, timeout, nonce, by = unpack(ARGV, 2)
local x = read_execution(id)
if x.status == '' then
  return 'missing'
end
local old = redis.call('HMGET', P .. 'x:' .. id, 'task', 'input', 'nonce')
if old[3] == nonce then
  return { 'restarted', x.run }
end
if is_live(x.status) then
  break_off(id, x)
end
archive(id)
local number = tonumber(x.run) + 1
begin_run(id, { number = number, fence = next_epoch(x.fence) .. '@', task = old[1], queue = x.queue,
  input = same == '1' and old[2] or input, nonce = nonce, trigger = 'restart', by = by, delay = '', timeout = timeout })
return { 'restarted', number }
