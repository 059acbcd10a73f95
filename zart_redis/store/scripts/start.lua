-- start: nothing, or a finished run -> scheduled.
--
-- takes: id, task, queue, input, delay, timeout, nonce, triggered_by, limits
--   delay, timeout: ms; '' for none
--   limits: the counters that it begins under, each with the numbers of its limit, see new_gates; left out if there are none
-- returns: {'started', run} | {'exists', status} if the id is live | {'needs', features}
-- emits: a stream entry, or a timer if it is delayed
-- repeat: nonce — the nonce of the run returns its number again
-- confirm: yes — the caller relies on it
-- memory: reject
local id, task, queue, input, delay, timeout, nonce, triggered_by, limits = unpack(ARGV, 2)
local status, run, last_nonce, last_fence, needs = unpack(redis.call('HMGET', KEY.execution(id), FIELD.status, FIELD.run,
  FIELD.nonce, FIELD.fence, FIELD.needs))
local number, fence, created, before
if not status then
  -- Above the epochs that an execution of this id may have had before it was purged, and later than its creation.
  local purged = redis.call('GET', KEY.purged_epoch) or '0'
  number, fence, created = 1, purged .. '@', math.max(now(), tonumber(purged) + 1)
elseif last_nonce == nonce then
  return { 'started', run }
elseif is_live(status) then
  return { 'exists', status }
elseif is_beyond_us(needs) then
  return { 'needs', needs }
else
  number, fence = tonumber(run) + 1, last_fence or '0@'
  before = archive(id)
end
local x = begin_run(id, { number = number, fence = fence, task = task, queue = queue, input = input, nonce = nonce,
  trigger = '', triggered_by = triggered_by, delay = delay, timeout = timeout, created = created,
  before = before, limits = limits })
if delay == '' and timeout == '' then
  return { 'started', number }
end
reschedule_timer(id, x)
return { 'started', number }
