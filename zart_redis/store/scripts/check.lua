-- check: compares executions with the second law and with the indexes; repairs them if asked.
--
-- takes: repair, ids...
--   repair: '1' to repair
-- returns: pairs (id, finding): 'lost' nothing will ever wake it; 'entry' its stream entry is gone, or held and not pending;
--   'timer' its timer is missing or too late; 'status' its status is unknown; 'index' it is not in the set of its status,
--   or of a tag;
--   'expiry' it is finished and will not expire, or live and will; 'leftover' it is finished and owns waits, timers or
--   scheduled steps; 'child <name>' nothing holds a scheduled step; 'damaged <why>' it cannot be read, or was set aside;
--   'orphan' other keys of it remain, but it does not; 'newer <what>' this version does not know it; 'more' it has too
--   many scheduled steps for this script, see check_steps; 'limit <what>' a slot that it holds is not counted
-- emits: a stream entry for what was lost, when repairing
-- repeat: same — what is repaired is not found again
-- confirm: no — a lost repair is found again
-- memory: allow
--
-- What is damaged is not repaired here, but what was set aside and can be read again is queued again.
local repair = unpack(ARGV, 2, 2)
repair = repair == '1'
local found = {}

local STATUSES = { STATUS.scheduled, STATUS.running, STATUS.waiting, STATUS.completed, STATUS.failed, STATUS.cancelled }

local function report(id, finding)
  found[#found + 1], found[#found + 2] = id, finding
end

-- Whether each group of scheduled steps has as many steps as it counts, and none of them has ended.
local function awaits_steps(id, x)
  local missing = {}
  local groups = redis.call('HGETALL', KEY.groups(id))
  for i = 1, #groups, 2 do
    local kind, name, value = string.sub(groups[i], 1, 1), string.sub(groups[i], 2), groups[i + 1]
    if kind == GROUP_FIELD.missing then
      missing[name] = (missing[name] or 0) + (tonumber(value) or math.huge)
    elseif redis.call('HEXISTS', KEY.steps(id, x.scope), name) == 0 then
      return false
    else
      for number in string.gmatch(value, '%d+') do
        missing[number] = (missing[number] or 0) - 1
      end
    end
  end
  for _, difference in pairs(missing) do
    if difference ~= 0 then
      return false
    end
  end
  return #groups > 0
end

local function is_pending_wait(id, wait, due, timer)
  if not is_known_wait(wait) then
    return true -- a newer version will wake it
  elseif kind_of(wait) == WAIT.pause then
    return is_paused_by(string.sub(wait, 2), execution_member(id))
  end
  due = tonumber(due)
  return due == math.huge and (kind_of(wait) == WAIT.event or kind_of(wait) == WAIT.message) or timer <= due
end

-- Whether something that is registered will wake a parked body.
local function will_wake(id, x)
  if x.paused_by ~= '' then
    return is_paused_by(x.paused_by, execution_member(id))
  end
  if x.unserved ~= '' then
    return is_unserved(x.bucket .. ':' .. x.unserved, execution_member(id))
  end
  if is_in_line(id, x) then
    return true
  end
  if x.pending_retention ~= '' then
    return redis.call('EXISTS', KEY.steps(id, x.scope)) == 1 or redis.call('ZSCORE', KEY.timers, execution_member(id))
  end
  local timer = tonumber(redis.call('ZSCORE', KEY.timers, execution_member(id)) or math.huge)
  local waits = redis.call('ZRANGE', KEY.waits(id), 0, -1, 'WITHSCORES')
  for i = 1, #waits, 2 do
    if is_pending_wait(id, waits[i], waits[i + 1], timer) then
      return true
    end
  end
  return awaits_steps(id, x)
end

local function check_steps(id, x)
  if redis.call('HLEN', KEY.steps(id, x.scope)) > STEPS_IN_BATCH then
    return report(id, 'more')
  end
  for _, name in ipairs(redis.call('HKEYS', KEY.steps(id, x.scope))) do
    if is_step_lost(id, x, name, repair) then
      report(id, 'child ' .. name)
    end
  end
end

local function requeue(id, x)
  if repair then
    release_from_pause(id, x)
    if x.unserved ~= '' then
      end_hold(id)
      x.unserved = ''
    end
    redis.call('HDEL', KEY.execution(id), FIELD.pending_retention)
    detach(id, x, next_fence(x.fence, ''))
    if x.limits ~= '' and not is_admitted(x.limits) then
      leave_limits(id, x)
    end
    wake(id, x)
    reschedule_timer(id, x)
  end
end

local function check_timer(id, x)
  local due, timer = next_due_of(id, x), redis.call('ZSCORE', KEY.timers, execution_member(id))
  if due and (not timer or tonumber(timer) > due) then
    report(id, 'timer')
    if repair then
      reschedule_timer(id, x)
    end
  end
end

-- Whether a run has all the slots that it says it holds. It keeps them, even above a limit.
local function check_slots(id, x)
  local gates = read_gates(x.limits)
  for i = 1, gates.held do
    if not redis.call('ZSCORE', KEY.slots(gates.counters[i]), execution_member(id)) then
      report(id, 'limit its slot of ' .. shown(gates.counters[i]) .. ' is not counted')
      if repair then
        redis.call('SADD', KEY.counters, gates.counters[i])
        redis.call('ZADD', KEY.slots(gates.counters[i]), now(), execution_member(id))
      end
    end
  end
end

local function check_live(id, x)
  if x.limits ~= '' then
    check_slots(id, x)
  end
  if x.entry == '' and not will_wake(id, x) then
    report(id, 'lost')
    requeue(id, x)
  else
    check_timer(id, x)
  end
  if x.entry ~= '' and not is_queued(x.queue, x.entry, x.fence) then
    report(id, 'entry')
    requeue(id, x)
  end
  if redis.call('ZSCORE', KEY.expiring, id) then
    report(id, 'expiry')
    if repair then
      redis.call('ZREM', KEY.expiring, id)
    end
  end
  check_steps(id, x)
end

local function check_finished(id, x)
  if not redis.call('ZSCORE', KEY.expiring, id) then
    report(id, 'expiry')
    if repair then
      redis.call('ZADD', KEY.expiring, now(), id)
      redis.call('PUBLISH', CHANNEL.timers, now())
    end
  end
  if redis.call('EXISTS', KEY.waits(id), KEY.groups(id), KEY.news(id), KEY.receivers(id), KEY.steps(id, x.scope)) > 0
    or redis.call('ZSCORE', KEY.timers, execution_member(id)) then
    report(id, 'leftover')
    if repair then
      drop_steps(id, x)
      clear_waits(id, x)
      redis.call('ZREM', KEY.timers, execution_member(id))
    end
  end
end

local function check_types(id, x)
  local keys = { [KEY.waits(id)] = 'zset', [KEY.news(id)] = 'list', [KEY.groups(id)] = 'hash', [KEY.history(id)] = 'hash',
    [KEY.records(id, x.scope)] = 'hash', [KEY.steps(id, x.scope)] = 'hash', [KEY.events(id, x.run)] = 'hash',
    [KEY.attempts(id, x.scope)] = 'list', [KEY.mailbox(id)] = 'hash', [KEY.messages(id)] = 'zset',
    [KEY.receivers(id)] = 'zset', [KEY.message_ids(id)] = 'zset' }
  if redis.call('EXISTS', KEY.waits(id), KEY.news(id), KEY.groups(id), KEY.history(id), KEY.records(id, x.scope),
    KEY.steps(id, x.scope), KEY.events(id, x.run), KEY.attempts(id, x.scope), KEY.mailbox(id), KEY.messages(id),
    KEY.receivers(id), KEY.message_ids(id)) == 0 then
    return
  end
  for key, expected in pairs(keys) do
    local actual = redis.call('TYPE', key).ok
    if actual ~= 'none' and actual ~= expected then
      error('its key ' .. string.sub(key, #P + 1, #P + 2) .. ' is a ' .. actual)
    end
  end
end

-- Its task and queue must be those of its bucket, its scope must belong to its run.
local function check_fields(id, x)
  local task, version = unpack(redis.call('HMGET', KEY.execution(id), FIELD.task, FIELD.version))
  if redis.call('HGET', KEY.buckets, bucket_name(task, x.queue, version)) ~= x.bucket then
    error('task, queue, version and bucket do not agree')
  elseif not is_scope(x.scope, x.run) then
    error('scope does not belong to run')
  elseif not string.match(x.fence, '^%d+@') then
    error('malformed fence')
  end
  check_types(id, x)
end

local function check_index(id, x)
  local right, tags = KEY.index(x.status, x.bucket), redis.call('HGET', KEY.execution(id), FIELD.tags)
  local wrong = not redis.call('ZSCORE', right, id) or tags and not has_tags(id, tags)
  for _, status in ipairs(STATUSES) do
    local key = KEY.index(status, x.bucket)
    if key ~= right and redis.call('ZSCORE', key, id) then
      wrong = true
      if repair then
        redis.call('ZREM', key, id)
      end
    end
  end
  if wrong or not redis.call('ZSCORE', KEY.ids, id) then
    report(id, 'index')
    if repair then
      redis.call('ZADD', right, x.created, id)
      redis.call('ZADD', KEY.ids, 0, id)
      if tags then
        add_tags(id, x.created, tags)
      end
    end
  end
end

-- Calls f with each index of the partition, until it returns true.
local function any_index(f)
  for _, bucket in ipairs(redis.call('HVALS', KEY.buckets)) do
    for _, status in ipairs(STATUSES) do
      if f(KEY.index(status, bucket)) then
        return true
      end
    end
  end
  return false
end

-- Whether anything is left of an execution that is gone. One that was deleted since it was listed has left nothing.
local function has_remains(id)
  return redis.call('EXISTS', KEY.waits(id), KEY.groups(id), KEY.news(id), KEY.history(id)) > 0
    or redis.call('ZSCORE', KEY.ids, id) or redis.call('ZSCORE', KEY.expiring, id)
    or redis.call('ZSCORE', KEY.timers, execution_member(id)) or redis.call('HEXISTS', KEY.damaged, id) == 1
    or any_index(function(key)
      return redis.call('ZSCORE', key, id)
    end)
end

local function check_remains(id)
  if not has_remains(id) then
    return
  end
  report(id, 'orphan')
  if repair then
    any_index(function(key)
      redis.call('ZREM', key, id)
    end)
    redis.call('ZREM', KEY.ids, id)
    redis.call('HDEL', KEY.damaged, id)
    redis.call('ZREM', KEY.expiring, id)
    redis.call('ZREM', KEY.timers, execution_member(id))
    redis.call('UNLINK', KEY.waits(id), KEY.groups(id), KEY.news(id), KEY.history(id))
  end
end

local known_fields = {}
for name in string.gmatch(LAYOUT.fields, '%S+') do
  known_fields[name] = true
end

local function check_versions(id)
  for _, name in ipairs(redis.call('HKEYS', KEY.execution(id))) do
    if not known_fields[name] and string.match(name, '^[%l_]+$') then
      report(id, 'newer field ' .. name)
    end
  end
  for _, wait in ipairs(redis.call('ZRANGE', KEY.waits(id), 0, -1)) do
    if not is_known_wait(wait) then
      report(id, 'newer wait ' .. wait)
    end
  end
end

local function check(id)
  local x = read_execution(id)
  if is_beyond_us(x.needs) then
    return report(id, 'newer execution, needs ' .. x.needs)
  end
  if x.status == '' and redis.call('EXISTS', KEY.execution(id)) == 0 then
    check_remains(id)
  elseif is_live(x.status) then
    check_fields(id, x)
    check_index(id, x)
    check_versions(id)
    check_live(id, x)
  elseif is_final(x.status) then
    check_fields(id, x)
    check_index(id, x)
    check_finished(id, x)
    redis.call('HDEL', KEY.damaged, id)
  else
    report(id, 'status')
  end
end

for i = 3, #ARGV do
  local id = ARGV[i]
  local why = failure_of(check, id)
  if why then
    report(id, 'damaged ' .. why)
  else
    local set_aside_for = redis.call('HGET', KEY.damaged, id)
    if set_aside_for then
      report(id, 'damaged ' .. set_aside_for)
      if repair then
        redis.call('HDEL', KEY.damaged, id)
      end
    end
  end
end
return found
