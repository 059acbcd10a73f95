-- reclaim: queues again what a dead worker held, at once and fenced off from it, and blames it for the death.
--
-- takes: dead, limit, resumed, cause, what, allowed, patience
--   resumed: '1' if an earlier call has queued some of it already
--   cause: a `Cause`
--   what: the cause in words
--   allowed: how many deaths that count convict a body or a step
--   patience: ms in which a worker whose lease has ended may come back
-- returns: {'reaped' | 'more' | 'alive', entries requeued}
-- emits: a stream entry for each; what cannot be read is set aside; a revoke for each to the worker, which may only be slow
-- repeat: same — what was requeued no longer pends for the dead worker
-- confirm: no — what is lost of it is reclaimed again
-- memory: allow
local dead, limit, resumed, cause, what, allowed, patience = unpack(ARGV, 2)
limit = tonumber(limit)
local lease = redis.call('ZSCORE', KEY.workers, dead)
if lease and tonumber(lease) > now() then
  return { 'alive', 0 }
end

-- When the worker claimed the work of an entry; nil if it has not.
local function claimed_at(fields)
  local fence
  if fields[1] == ENTRY.execution then
    fence = redis.call('HGET', KEY.execution(fields[2]), FIELD.fence)
  elseif fields[1] == ENTRY.step and fields[6] then
    fence = (read_step(fields[2], fields[4], fields[6]) or {}).fence
  end
  return fence and owner_of(fence) == dead and epoch_of(fence) or nil
end

local found, held = {}, 0

-- Collects what pends for the worker in one of a queue's streams. Returns whether that is all.
local function collect(queue, lane)
  local key, most = stream_of(queue, lane), limit - #found
  local pending = most > 0 and redis.pcall('XPENDING', key, LAYOUT.group, '-', '+', most, dead) or {}
  if pending.err then
    return true
  end
  for _, item in ipairs(pending) do
    local entry = lane .. item[1]
    local fields = read_entry(queue, entry)
    if fields then
      local readable, since = pcall(claimed_at, fields)
      since = readable and since or nil
      held = held + (since and 1 or 0)
      found[#found + 1] = { queue = queue, entry = entry, fields = fields, since = since or 0, place = #found }
    else
      ack_and_delete(queue, entry)
    end
  end
  return most > 0 and #pending < most
end

local streams, is_all = {}, true
for _, queue in ipairs(redis.call('SMEMBERS', KEY.queues)) do
  for _, lane in ipairs(LANES) do
    if collect(queue, lane) then
      streams[#streams + 1] = (stream_of(queue, lane))
    else
      is_all = false
    end
  end
end

-- What had run for the shortest time is the likeliest cause: it comes first among the suspects.
table.sort(found, function(one, other)
  if one.since ~= other.since then
    return one.since > other.since
  end
  return one.place < other.place
end)

local function read_info()
  local readable, info = pcall(cjson.decode, redis.call('HGET', KEY.worker_info, dead) or '{}')
  return readable and type(info) == 'table' and info or {}
end

local info = read_info()
local death = { worker = dead, cause = cause, what = what, pid = info.pid, host = info.host, allowed = tonumber(allowed),
  patience = tonumber(patience), is_alone = held == 1 and is_all and resumed ~= '1' }
local moved = 0

local function reclaim_entry(item)
  local requeued
  local why = failure_of(function()
    requeued = requeue_entry(item.queue, item.entry, item.fields, death)
  end)
  if why then
    ack_and_delete(item.queue, item.entry)
    local set = item.fields[1] == ENTRY.execution and set_body_aside or set_aside
    set(item.fields[2], why)
  elseif requeued then
    moved = moved + 1
  end
end

for _, item in ipairs(found) do
  reclaim_entry(item)
end
for _, key in ipairs(streams) do
  redis.pcall('XGROUP', 'DELCONSUMER', key, LAYOUT.group, dead) -- safe: nothing pends for it here any more
end
if not is_all then
  return { 'more', moved }
end
redis.call('ZREM', KEY.workers, dead)
redis.call('HDEL', KEY.worker_info, dead)
if redis.call('EXISTS', KEY.workers) == 0 then
  redis.call('DEL', KEY.heartbeats) -- nobody is left
end
return { 'reaped', moved }
