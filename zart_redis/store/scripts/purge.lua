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

-- Deletes streams as far as this script may.
local function delete_streams(id)
  local names = redis.pcall('HRANDFIELD', KEY.streams(id), runs_left)
  if names.err then
    redis.call('UNLINK', KEY.streams(id))
    return
  end
  for _, name in ipairs(names) do
    redis.call('UNLINK', KEY.stream(id, redis.call('HGET', KEY.streams(id), name)))
    redis.call('HDEL', KEY.streams(id), name)
  end
  runs_left = runs_left - #names
end

-- Deletes earlier runs and streams as far as this script may. Returns whether none is left.
local function delete_history(id)
  if redis.call('EXISTS', KEY.history(id), KEY.streams(id)) == 0 then
    return true
  end
  delete_streams(id)
  local runs = redis.pcall('HRANDFIELD', KEY.history(id), runs_left)
  if runs.err then
    redis.call('UNLINK', KEY.history(id)) -- of another type than it should be
    return true
  end
  for _, run in ipairs(runs) do
    delete_earlier_run(id, run)
  end
  runs_left = runs_left - #runs
  return redis.call('EXISTS', KEY.history(id), KEY.streams(id)) == 0
end

local queues = {} -- that may be empty now

local function delete(id, fields)
  highest = math.max(highest, tonumber(string.match(fields[4] or '', '^%d+') or 0))
  if fields[1] then
    delete_run(id, fields[1])
  end
  if fields[2] and fields[3] then
    redis.call('ZREM', KEY.index(fields[2], fields[3]), id)
  end
  if fields[6] and fields[7] then
    local task, queue, version = unpack(fields, 6, 8)
    local is_last = delete_bucket_if_empty(task, queue, version)
    if version then -- that of its run before it was bound to one
      is_last = delete_bucket_if_empty(task, queue) or is_last
    end
    queues[queue] = queues[queue] or is_last or nil
  end
  if fields[9] then
    failure_of(remove_tags, id, fields[9])
  end
  redis.call('UNLINK', KEY.execution(id), KEY.values(id), KEY.mailbox(id), KEY.messages(id), KEY.receivers(id), KEY.message_ids(id))
  redis.call('ZREM', KEY.expiring, id)
  redis.call('ZREM', KEY.ids, id)
  redis.call('HDEL', KEY.damaged, id)
end

local deleted, remaining = 0, 0
for _, id in ipairs(due) do
  local fields = redis.pcall('HMGET', KEY.execution(id), FIELD.run, FIELD.status, FIELD.bucket, FIELD.fence, FIELD.needs,
    FIELD.task, FIELD.queue, FIELD.version, FIELD.tags)
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
  delete_queue_if_empty(queue)
end
if deleted > 0 then
  forget_rates(200)
end
if highest > 0 then
  redis.call('SET', KEY.purged_epoch, string.format('%d', highest))
end
return { deleted, remaining }
