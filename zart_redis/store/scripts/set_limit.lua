-- set_limit: sets the numbers of a limit, as a worker declares them or as an operator wants them; its lines then move.
--
-- takes: field, name, counter, concurrency, rate
--   field: a `LimitField`
--   counter: the limit's name, or one of its counters
--   concurrency, rate: '' leaves an operator's number as it is, and a declared limit without one; '-' for both removes them
-- returns: 'set' | 'same' if nothing has changed
-- emits: a timer, which moves the lines
-- repeat: same — what is set is set
-- confirm: yes — the caller relies on it
-- memory: allow
local field, name, counter, concurrency, rate = unpack(ARGV, 2)
local before = redis.call('HGET', KEY.limits, field .. counter)
local after = concurrency .. ',' .. rate
if concurrency == '-' then
  after = false
elseif before and field == LIMIT_FIELD.override then
  local many, often = string.match(before, '^(%d*),(.*)$')
  after = (concurrency == '' and many or concurrency) .. ',' .. (rate == '' and often or rate)
end
if after == before then
  return 'same'
end
if after then
  redis.call('HSET', KEY.limits, field .. counter, after)
else
  redis.call('HDEL', KEY.limits, field .. counter)
end
if counter == name then
  set_timer(changed_limit_member(name, '0'), now())
else
  set_timer(TIMER.limit .. counter, now())
end
return 'set'
