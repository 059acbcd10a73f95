--@include base insist stream timers fence execution child damaged
-- reclaim: what a dead worker held is queued again, at once and fenced off from it.
--
-- ARGV    the dead worker, how many at most, how many crashes without progress doom a body
-- answer  {'reaped' | 'more' | 'alive', entries requeued}
-- emits   a stream entry for each; what cannot be read is set aside
local dead, limit, most = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local lease = redis.call('ZSCORE', P .. 'workers', dead)
if lease and tonumber(lease) > now() then
  return { 'alive', 0 }
end
local moved = 0

-- A body that recorded something since its last claim is not what keeps killing its workers.
local function reclaim_execution(entry, id)
  local x = read_execution(id)
  if x.entry ~= entry then
    return
  end
  local key = P .. 'x:' .. id
  if owner_of(x.fence) == dead then
    local size = redis.call('HLEN', P .. 'r:' .. id .. ':' .. x.scope) * 2
    local before = tonumber(redis.call('HGET', key, 'progress') or '-1')
    if size > before then
      redis.call('HSET', key, 'crashes', 1)
    elseif redis.call('HINCRBY', key, 'crashes', 1) >= most then
      redis.call('HSET', key, 'doom', 'crashes')
    end
    redis.call('HSET', key, 'fence', next_epoch(x.fence) .. '@')
  end
  enqueue(id, x, BACK)
  moved = moved + 1
end

local function reclaim_child(queue, entry, id, scope, name)
  local c = read_child(id, scope, name)
  if not c or c.entry ~= entry then
    return
  end
  if owner_of(c.fence) == dead then
    c.crashes, c.fence = c.crashes + 1, next_epoch(c.fence) .. '@'
  end
  c.entry = enqueue_child(queue, id, scope, name, BACK)
  write_child(id, scope, name, c)
  moved = moved + 1
end

local function requeue(queue, entry, fields)
  if fields[1] == 'x' then
    reclaim_execution(entry, fields[2])
  elseif fields[1] == 's' then
    reclaim_child(queue, entry, fields[2], fields[4], fields[6])
  end
end

-- Of one of a queue's streams. Answers whether all of it is done.
local function reclaim_stream(queue, mark)
  local key = stream_of(queue, mark)
  local pending = redis.pcall('XPENDING', key, GROUP, '-', '+', limit, dead)
  if pending.err then
    return true
  end
  for _, item in ipairs(pending) do
    local entry = mark .. item[1]
    local fields = fields_of(queue, entry) or {}
    local why = failure_of(requeue, queue, entry, fields)
    if why then
      set_aside(fields[2], why)
    end
    forget_entry(queue, entry)
    limit = limit - 1
  end
  if limit <= 0 then
    return false
  end
  -- Nothing is pending for it here: only now may its consumer go.
  redis.call('XGROUP', 'DELCONSUMER', key, GROUP, dead)
  return true
end

for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
  if not (reclaim_stream(queue, BACK) and reclaim_stream(queue, '')) then
    return { 'more', moved }
  end
end
redis.call('ZREM', P .. 'workers', dead)
redis.call('HDEL', P .. 'about', dead)
return { 'reaped', moved }
