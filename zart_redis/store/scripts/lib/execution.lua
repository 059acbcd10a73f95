-- An execution: reading it, its place in the index, its timer, waking its body.

-- The named fields as a table; '' for those that are missing.
local function read_fields(id, names)
  local values = redis.call('HMGET', KEY.execution(id), unpack(names))
  local x = {}
  for i = 1, #names do
    x[names[i]] = values[i] or ''
  end
  return x
end

-- What most transitions need. Spelled out, since it is read at each of them.
local function read_execution(id)
  local v = redis.call('HMGET', KEY.execution(id), FIELD.status, FIELD.bucket, FIELD.created, FIELD.queue, FIELD.fence,
    FIELD.entry, FIELD.scope, FIELD.deadline, FIELD.run, FIELD.pending_retention, FIELD.paused_by, FIELD.needs,
    FIELD.kept_by, FIELD.held, FIELD.blame, FIELD.unserved, FIELD.limits, FIELD.expires,
    FIELD.parent, FIELD.compensates)
  return { status = v[1] or '', bucket = v[2] or '', created = v[3] or '', queue = v[4] or '', fence = v[5] or '',
    entry = v[6] or '', scope = v[7] or '', deadline = v[8] or '', run = v[9] or '', pending_retention = v[10] or '',
    paused_by = v[11] or '', needs = v[12] or '', kept_by = v[13] or '', held = v[14] or '', blame = v[15] or '',
    unserved = v[16] or '', limits = v[17] or '', expires = v[18] or '', parent = v[19] or '', compensates = v[20] or '' }
end

local function is_held_by(id, x, fence, scope, ack)
  return x.fence == fence and x.scope == scope and is_still_recorded(id, scope, ack)
end

local function is_live(status)
  return status == STATUS.scheduled or status == STATUS.running or status == STATUS.waiting
end

-- What becomes of an execution whose body has returned.
local function final_status(x)
  return x.compensates == '' and STATUS.completed or STATUS.cancelled
end

local function is_final(status)
  return status == STATUS.completed or status == STATUS.failed or status == STATUS.cancelled
end

-- Whether a scope belongs to a run: it is that of its body or of its on_failure body.
local function is_scope(scope, run)
  return run and string.match(run, '^%d+$') and (scope == run or scope == run .. 'f')
end

-- Whether the field `needs` asks for what this version does not provide. It then leaves the execution to others.
local function is_beyond_us(needs)
  if not needs or needs == '' then
    return false
  end
  for feature in string.gmatch(needs, '%S+') do
    if not string.find(LAYOUT.features, ' ' .. feature .. ' ', 1, true) then
      return true
    end
  end
  return false
end

local function execution_member(id)
  return TIMER.execution .. id
end

-- Entries of two queues can have the same id.
local function notify_worker(fence, signal, queue, entry)
  local owner = owner_of(fence)
  if owner then
    redis.call('PUBLISH', CHANNEL.worker(owner), signal .. ' ' .. entry .. ' ' .. queue)
  end
end

-- Each execution is in exactly one sorted set: that of its status and its bucket.
local function set_status(id, x, status)
  if x.status ~= status then
    redis.call('ZREM', KEY.index(x.status, x.bucket), id)
    redis.call('ZADD', KEY.index(status, x.bucket), x.created, id)
    redis.call('HSET', KEY.execution(id), FIELD.status, status)
    x.status = status
  end
end

local function enqueue(id, x, lane)
  x.entry = add_entry(x.queue, lane_of(x.blame, lane), ENTRY.execution, id)
  redis.call('HSET', KEY.execution(id), FIELD.entry, x.entry)
end

local function is_known_wait(wait)
  local kind = kind_of(wait)
  return kind == WAIT.sleep or kind == WAIT.event or kind == WAIT.timer or kind == WAIT.retry or kind == WAIT.delay
    or kind == WAIT.message or kind == WAIT.unknown_task or kind == WAIT.held or kind == WAIT.pause or kind == WAIT.expiry
end

-- When the earliest of its deadline and its waits is due, or nil.
local function next_due_of(id, x)
  local due = tonumber(x.deadline)
  local first = redis.call('ZRANGEBYSCORE', KEY.waits(id), '-inf', '(+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  local at = tonumber(first[2])
  if at and at <= now() and not is_known_wait(first[1]) then
    at = now() + PUT_OFF_MS -- left to a version that knows it
  end
  if at and (not due or at < due) then
    due = at
  end
  return due
end

-- An execution has one timer, for what is due first.
local function reschedule_timer(id, x)
  local due = next_due_of(id, x)
  if due then
    set_timer(execution_member(id), due)
  else
    redis.call('ZREM', KEY.timers, execution_member(id))
  end
end

-- Something that the body waits for has been recorded: queues a parked body, or notifies the worker that holds it.
local function wake(id, x)
  if x.paused_by ~= '' or x.unserved ~= '' then
    return -- what was recorded waits for the end of the pause, or for a worker of the right version
  end
  if x.entry == '' and x.limits ~= '' and not is_admitted(x.limits) then
    ask_again(id, x)
    if x.entry == '' then
      set_status(id, x, STATUS.scheduled)
    end
  elseif x.entry == '' then
    enqueue(id, x)
    if x.status == STATUS.waiting then
      set_status(id, x, STATUS.running)
    end
  else
    notify_worker(x.fence, SIGNAL.wake, x.queue, x.entry)
  end
end
