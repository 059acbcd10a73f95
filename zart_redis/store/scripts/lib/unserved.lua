-- Work that waits for a worker of another version. It is in no queue: a worker that runs the version takes it.

-- Adds what timers would call by this name, and notifies the workers.
local function add_unserved(member, x, version)
  local description = cjson.encode({ x.task, x.queue, tonumber(version) })
  redis.call('ZADD', KEY.unserved(x.bucket, version), now(), member)
  redis.call('HSET', KEY.unserved_kinds, x.bucket .. ':' .. version, description)
  redis.call('HSET', KEY.held, member, '')
  redis.call('PUBLISH', CHANNEL.unserved, description)
end

-- `kind` is what names the set, "<bucket>:<version>".
local function is_unserved(kind, member)
  local bucket, version = string.match(kind, '^(%d+):(%d+)$')
  return redis.call('ZSCORE', KEY.unserved(bucket, version), member)
end

local function remove_unserved(member, bucket, version)
  redis.call('ZREM', KEY.unserved(bucket, version), member)
  if redis.call('EXISTS', KEY.unserved(bucket, version)) == 0 then
    redis.call('HDEL', KEY.unserved_kinds, bucket .. ':' .. version)
  end
end
