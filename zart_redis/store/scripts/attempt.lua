--@include base insist fence log
-- attempt: keeps what the attempts of a step in place share: how many have failed, its deadline, the next try.
--
-- ARGV    id, fence, scope, last, name, failed attempts, timeout ms ('' none; sets the deadline the first time),
--         delay ms, note on the attempt that has failed, for the log ('' none has)
-- answer  {record, now}   the pending record 'a<attempts>,<deadline>,<next try>', or the final one that stands there
--         'fenced'
local id, fence, scope, last, name, attempts, timeout, delay, note = unpack(ARGV, 2)
if not holds(id, fence, scope, last) then
  return 'fenced'
end
local key = P .. 'r:' .. id .. ':' .. scope
local existing = redis.call('HGET', key, name)
if existing and (string.sub(existing, 1, 1) ~= 'a' or string.match(existing, '^a(%d+),') == attempts) then
  return { existing, now() }
end
local deadline = existing and string.match(existing, ',(%d*),') or ''
if deadline == '' and timeout ~= '' then
  deadline = string.format('%d', now() + tonumber(timeout))
end
local due = now() + tonumber(delay)
if deadline ~= '' then
  due = math.min(due, tonumber(deadline))
end
local record = string.format('a%s,%s,%d', attempts, deadline, due)
redis.call('HSET', key, name, record)
log_attempt(id, scope, note)
return { record, now() }
