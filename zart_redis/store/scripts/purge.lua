-- purge: deletes finished executions with all that they own, in batches: those whose retention has passed, or those named.
--
-- takes: limit, ids...
--   ids: none to go by the retention
-- returns: {how many were deleted, how many are deleted in part and have to be purged again}
-- emits: nothing
-- repeat: same — what is gone stays gone
-- confirm: no — a lost purge is done again
-- memory: allow
local limit = unpack(ARGV, 2, 2)
local due = {}
if #ARGV == 2 then
  due = redis.call('ZRANGEBYSCORE', KEY.expiring, '-inf', now(), 'LIMIT', 0, tonumber(limit))
else
  for i = 3, #ARGV do
    if redis.call('ZSCORE', KEY.expiring, ARGV[i]) then -- only finished executions expire
      due[#due + 1] = ARGV[i]
    end
  end
end
local highest = tonumber(redis.call('GET', KEY.purged_epoch) or 0)
local runs_left = 200

-- Deletes earlier runs as far as this script may. Returns whether none is left.
local function delete_history(id)
  local runs = redis.pcall('HRANDFIELD', KEY.history(id), runs_left)
  if runs.err then
    redis.call('UNLINK', KEY.history(id)) -- of another type than it should be
    return true
  end
  for _, run in ipairs(runs) do
    delete_earlier_run(id, run)
  end
  runs_left = runs_left - #runs
  return redis.call('EXISTS', KEY.history(id)) == 0
end

local queues = {}

-- Forgets the pair of a task and a queue when the last of its executions has gone.
local function delete_bucket(task, queue, version)
  local bucket = redis.call('HGET', KEY.buckets, bucket_name(task, queue, version))
  if bucket and redis.call('EXISTS', KEY.index(STATUS.scheduled, bucket), KEY.index(STATUS.running, bucket),
    KEY.index(STATUS.waiting, bucket), KEY.index(STATUS.completed, bucket), KEY.index(STATUS.failed, bucket),
    KEY.index(STATUS.cancelled, bucket)) == 0 then
    redis.call('HDEL', KEY.buckets, bucket_name(task, queue, version))
    queues[queue] = true
  end
end

-- Deletes the streams of a queue if nothing is in them. Workers that read it make them again.
local function delete_queue(queue)
  local entries = 0
  for _, lane in ipairs(LANES) do
    entries = entries + redis.call('XLEN', (stream_of(queue, lane)))
  end
  if entries == 0 then
    for _, lane in ipairs(LANES) do
      redis.call('DEL', (stream_of(queue, lane)))
    end
    redis.call('SREM', KEY.queues, queue)
  end
end

local function delete(id, fields)
  highest = math.max(highest, tonumber(string.match(fields[4] or '', '^%d+') or 0))
  if fields[1] then
    delete_run(id, fields[1])
  end
  if fields[2] and fields[3] then
    redis.call('ZREM', KEY.index(fields[2], fields[3]), id)
  end
  if fields[6] and fields[7] then
    delete_bucket(fields[6], fields[7], fields[8])
    if fields[8] then
      delete_bucket(fields[6], fields[7]) -- that of its run before it was bound to a version
    end
  end
  redis.call('UNLINK', KEY.execution(id))
  redis.call('ZREM', KEY.expiring, id)
  redis.call('ZREM', KEY.ids, id)
  redis.call('HDEL', KEY.damaged, id)
end

local deleted, remaining = 0, 0
for _, id in ipairs(due) do
  local fields = redis.pcall('HMGET', KEY.execution(id), FIELD.run, FIELD.status, FIELD.bucket, FIELD.fence, FIELD.needs,
    FIELD.task, FIELD.queue, FIELD.version)
  if not fields.err and is_beyond_us(fields[5]) then
    if #ARGV == 2 then -- left to others, and not in the way of what expires later
      redis.call('ZADD', KEY.expiring, 'XX', now() + PUT_OFF_MS, id)
    end
  elseif delete_history(id) then
    delete(id, fields)
    deleted = deleted + 1
  else
    remaining = remaining + 1
  end
end
for queue in pairs(queues) do
  delete_queue(queue)
end
if highest > 0 then
  redis.call('SET', KEY.purged_epoch, string.format('%d', highest))
end
return { deleted, remaining }
