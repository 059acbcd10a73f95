-- cancel_child: the parent of an execution does not wait for it any more: live -> cancelled.
--
-- takes: child, parent, retention
--   parent: as the field `parent` of the child has it; the child of another start is left alone
-- returns: 'cancelled' | 'gone'
-- emits: the final status to those who wait for the execution; a revoke to the worker that holds it;
--   a stream entry for what gets its slots
-- repeat: same — a child that has ended is left alone
-- confirm: yes — the mail that asked for it is deleted
-- memory: allow
local child, parent, retention = unpack(ARGV, 2, 4)
local KEPT_MS = 3600 * 1000
local x = read_execution(child)
if x.parent ~= parent then
  -- Its start may still be on the way.
  redis.call('ZREMRANGEBYSCORE', KEY.cancelled_starts, '-inf', now())
  redis.call('ZADD', KEY.cancelled_starts, now() + KEPT_MS, parent)
  return 'gone'
elseif not is_live(x.status) then
  return 'gone'
end
x.parent = ''
redis.call('HSET', KEY.execution(child), FIELD.reason, LAYOUT.parent_ended)
cancel_run(child, x, retention)
return 'cancelled'
