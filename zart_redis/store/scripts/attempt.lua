-- attempt: keeps what the attempts of a step in place share: how many have failed, the deadline, the next try.
--
-- takes: id, fence, scope, ack, name, failed_attempts, timeout, delay, note
--   timeout: ms; sets the deadline the first time; '' for none
--   note: on the attempt that failed, for the log; '' if none has
-- returns: {record, now}; the pending record, or the final one that is there | 'fenced'
-- emits: nothing
-- repeat: same — a record of the same number of attempts is returned as it is
-- confirm: yes — the body builds on the record
-- memory: allow
local id, fence, scope, ack, name, failed_attempts, timeout, delay, note = unpack(ARGV, 2)
if not owns_claim(id, fence, scope, ack) then
  return 'fenced'
end
local key = KEY.records(id, scope)
local existing = redis.call('HGET', key, name)
if existing and kind_of(existing) == RECORD.cancelled then
  existing = false
end
if existing and (kind_of(existing) ~= RECORD.attempts or string.match(existing, '^.(%d+),') == failed_attempts) then
  return { existing, now() }
end
local deadline = existing and string.match(existing, ',(%d*),') or ''
if deadline == '' and timeout ~= '' then
  deadline = in_ms(timeout)
end
local due = now() + tonumber(delay)
if deadline ~= '' then
  due = math.min(due, tonumber(deadline))
end
local record = string.format('%s%s,%s,%d', RECORD.attempts, failed_attempts, deadline, due)
redis.call('HSET', key, name, record)
log_attempt(id, scope, note)
return { record, now() }
