-- Buckets: the executions of one task, queue and version, which are listed and counted together. A bucket and its queue go
-- with the last execution.

local function bucket_name(task, queue, version)
  return cjson.encode({ task, queue, tonumber(version) })
end

-- `version` is that of a run that is bound to one, else nil or false.
local function bucket_of(task, queue, version)
  local name = bucket_name(task, queue, version)
  local bucket = redis.call('HGET', KEY.buckets, name)
  if not bucket then
    if redis.call('HEXISTS', KEY.meta, META.buckets) == 0 then
      redis.call('HSET', KEY.meta, META.buckets, redis.call('HLEN', KEY.buckets))
    end
    bucket = tostring(redis.call('HINCRBY', KEY.meta, META.buckets, 1))
    redis.call('HSET', KEY.buckets, name, bucket)
  end
  return bucket
end

-- Deletes the streams of a queue if nothing is in them. Workers that read it make them again.
local function delete_queue_if_empty(queue)
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

-- Returns whether it was the last execution of the bucket that has gone.
local function delete_bucket_if_empty(task, queue, version)
  local name = bucket_name(task, queue, version)
  local bucket = redis.call('HGET', KEY.buckets, name)
  if not bucket or redis.call('EXISTS', KEY.index(STATUS.scheduled, bucket), KEY.index(STATUS.running, bucket),
    KEY.index(STATUS.waiting, bucket), KEY.index(STATUS.completed, bucket), KEY.index(STATUS.failed, bucket),
    KEY.index(STATUS.cancelled, bucket)) > 0 then
    return false
  end
  redis.call('HDEL', KEY.buckets, name)
  return true
end
