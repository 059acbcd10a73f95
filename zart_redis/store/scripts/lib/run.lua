-- Runs: the end of one goes into the history, the next one begins.

local MAX_HISTORY = 100

-- Deletes what was recorded in a run.
local function delete_run(id, run)
  run = string.match(run, '^%d+$') or '0'
  for _, scope in ipairs({ run, run .. 'f' }) do
    redis.call('UNLINK', KEY.records(id, scope), KEY.attempts(id, scope), KEY.emitters(id, scope))
  end
  redis.call('UNLINK', KEY.events(id, run))
end

-- Deletes an earlier run, if it is kept.
local function delete_earlier_run(id, run)
  if redis.call('HDEL', KEY.history(id), run) == 1 then
    delete_run(id, run)
  end
end

-- Keeps the newest of the earlier runs.
local function shorten_history(id, newest)
  local oldest = tonumber(newest) - MAX_HISTORY
  if oldest > 0 then
    delete_earlier_run(id, string.format('%d', oldest))
  end
end

-- Deletes the fields of the present run; begin_run follows, and gets what this returns as `before`.
local function remove_present_run(id)
  local key = KEY.execution(id)
  local fields = redis.call('HMGET', key, FIELD.status, FIELD.bucket, FIELD.continued_runs, FIELD.task, FIELD.queue,
    FIELD.version, FIELD.tags, FIELD.parent)
  redis.call('ZREM', KEY.index(fields[1], fields[2]), id)
  redis.call('ZREM', KEY.expiring, id)
  redis.call('HDEL', KEY.damaged, id)
  redis.call('DEL', key)
  if fields[3] then
    redis.call('HSET', key, FIELD.continued_runs, fields[3])
  end
  if fields[7] then
    remove_tags(id, fields[7])
  end
  return { task = fields[4], queue = fields[5], version = fields[6], tags = fields[7], parent = fields[8] }
end

-- Moves the present run into the history; begin_run follows, and gets what this returns as `before`.
local function archive(id)
  local run = redis.call('HGET', KEY.execution(id), FIELD.run)
  redis.call('HSET', KEY.history(id), run, cmsgpack.pack(redis.call('HGETALL', KEY.execution(id))))
  local before = remove_present_run(id)
  shorten_history(id, run)
  return before
end

-- The number of the next run of an id whose last run has ended, its fence, its time of creation if that is not now, and
-- what begin_run gets as `before`. `last` is the number of the last run, or false if there was none.
local function next_run(id, last)
  if not last then
    -- Above the epochs that an execution of this id may have had before it was purged, and later than its creation.
    local purged = redis.call('GET', KEY.purged_epoch) or '0'
    return 1, purged .. '@', math.max(now(), tonumber(purged) + 1)
  end
  local fence = redis.call('HGET', KEY.execution(id), FIELD.fence) or '0@'
  return tonumber(last) + 1, fence, nil, archive(id)
end

-- The run before has left its bucket.
local function leave_bucket(before, task, queue)
  if before.task and before.queue and (before.task ~= task or before.queue ~= queue or before.version) then
    if delete_bucket_if_empty(before.task, before.queue, before.version) and before.queue ~= queue then
      delete_queue_if_empty(before.queue)
    end
  end
end

-- Takes a live run away from whatever holds it, and removes its scheduled steps, timers and waits.
local function withdraw_run(id, x, ...)
  drop_steps(id, x)
  detach(id, x, free_fence(x.fence), ...)
  clear_waits(id, x)
  if x.limits ~= '' then
    leave_limits(id, x)
  end
end

-- Aborts a live run: revokes its claim, and tells those who wait for it.
local function abort_run(id, x)
  notify_worker(x.fence, SIGNAL.revoke, x.queue, x.entry)
  return_messages(id, x)
  withdraw_run(id, x, FIELD.finished, now())
  set_status(id, x, STATUS.cancelled)
  redis.call('PUBLISH', CHANNEL.done(id), STATUS.cancelled)
end

-- Cancels a live run.
local function cancel_run(id, x, retention)
  notify_worker(x.fence, SIGNAL.revoke, x.queue, x.entry)
  return_messages(id, x)
  drop_steps(id, x)
  complete(id, x, STATUS.cancelled, retention)
end

-- Versions that lack a feature leave the execution alone from now on.
local function require_feature(id, feature)
  local needs = redis.call('HGET', KEY.execution(id), FIELD.needs)
  if not needs or not string.find(' ' .. needs .. ' ', ' ' .. feature .. ' ', 1, true) then
    redis.call('HSET', KEY.execution(id), FIELD.needs, needs and needs .. ' ' .. feature or feature)
  end
end

-- Binds a run to the version of a handler.
local function bind_version(id, x, version)
  local bucket = bucket_of(x.task, x.queue, version)
  redis.call('ZREM', KEY.index(x.status, x.bucket), id)
  redis.call('ZADD', KEY.index(x.status, bucket), x.created, id)
  x.version, x.bucket = version, bucket
  redis.call('HSET', KEY.execution(id), FIELD.version, version, FIELD.bucket, bucket)
  if version ~= '1' then -- which is what those run that know of no versions
    require_feature(id, FEATURE.versions)
  end
end

-- Returns the execution, whose timer the caller sets if it is delayed or has a deadline.
--
-- run: { number, fence, task, queue, input, nonce, trigger, triggered_by, delay, timeout, created, before, limits, tags,
-- scheduled_for, parent };
-- trigger, triggered_by, delay and timeout may be ''; created is now if it is left out, before is nil if there was no run;
-- limits is nil or what new_gates takes; tags is nil, false, or the packed map; scheduled_for is
-- ms or nil; parent is nil, false, or what the field has
local function begin_run(id, run)
  local key = KEY.execution(id)
  local bucket = bucket_of(run.task, run.queue)
  local created = run.created or now()
  local x = { status = STATUS.scheduled, bucket = bucket, created = created, queue = run.queue, entry = '', deadline = '' }
  local gates = run.limits and new_gates(run.limits)
  redis.call('HSET', key, FIELD.status, x.status, FIELD.task, run.task, FIELD.queue, run.queue, FIELD.bucket, bucket,
    FIELD.run, run.number, FIELD.scope, run.number, FIELD.fence, run.fence, FIELD.entry, '', FIELD.attempt, 1,
    FIELD.created, x.created, FIELD.input, run.input, FIELD.nonce, run.nonce)
  if run.trigger ~= '' then
    redis.call('HSET', key, FIELD.trigger, run.trigger)
  end
  if run.triggered_by ~= '' then
    redis.call('HSET', key, FIELD.triggered_by, run.triggered_by)
  end
  redis.call('ZADD', KEY.index(STATUS.scheduled, bucket), x.created, id)
  redis.call('ZADD', KEY.ids, 0, id)
  if run.scheduled_for then
    redis.call('HSET', key, FIELD.scheduled_for, run.scheduled_for)
  end
  if run.tags then
    redis.call('HSET', key, FIELD.tags, run.tags)
    add_tags(id, created, run.tags)
  end
  if run.before then
    leave_bucket(run.before, run.task, run.queue)
  end
  if run.timeout ~= '' then
    set_deadline(id, x, now() + tonumber(run.timeout))
  end
  if run.delay ~= '' then
    redis.call('ZADD', KEY.waits(id), in_ms(run.delay), WAIT.delay)
  elseif not gates then
    enqueue(id, x)
  end
  if run.parent then
    redis.call('HSET', key, FIELD.parent, run.parent)
  end
  if gates and run.delay == '' then
    admit(id, x, gates, FIELD.needs, FEATURE.limits)
  elseif gates then
    redis.call('HSET', key, FIELD.limits, write_gates(gates), FIELD.needs, FEATURE.limits)
  end
  if run.parent then
    require_feature(id, FEATURE.children)
  end
  return x
end
