-- The ways out of a worker's hands, or of a queue. Whatever else a claim comes to occupy is given back here.

-- Takes a body away from the worker that holds its entry. `fence` is its fence from now on; more fields and values may follow.
local function detach(id, x, fence, ...)
  ack_and_delete(x.queue, x.entry)
  x.entry, x.fence = '', fence
  redis.call('HSET', KEY.execution(id), FIELD.entry, '', FIELD.fence, fence, ...)
end

-- The same for a scheduled step, which the caller writes or deletes.
local function detach_step(queue, step, fence)
  ack_and_delete(queue, step.entry)
  step.entry, step.fence = nil, fence
end

local function park_body(id, x)
  detach(id, x, free_fence(x.fence))
  set_status(id, x, STATUS.waiting)
end

-- Clears all that a body waits on: waits, groups, pause holds and the timer.
local function clear_waits(id, x)
  local member = execution_member(id)
  local has_waits = redis.call('EXISTS', KEY.waits(id)) == 1
  if has_waits then
    for _, wait in ipairs(redis.call('ZRANGEBYSCORE', KEY.waits(id), '+inf', '+inf')) do
      if kind_of(wait) == WAIT.pause then
        redis.call('ZREM', KEY.paused(string.sub(wait, 2)), member)
      end
    end
  end
  if x.paused_by ~= '' then
    redis.call('ZREM', KEY.paused(x.paused_by), member)
  end
  if x.held ~= '' then
    end_hold(id)
  end
  redis.call('DEL', KEY.waits(id), KEY.groups(id), KEY.news(id), KEY.receivers(id))
  if has_waits or x.deadline ~= '' then -- else it has no timer
    redis.call('ZREM', KEY.timers, member)
  end
end

-- Ends a run: no transition can change it any more, waiting clients are notified, its retention begins.
local function complete(id, x, status, retention)
  local expiry = now() + tonumber(retention)
  detach(id, x, next_fence(x.fence, ''), FIELD.finished, now())
  clear_waits(id, x)
  if x.limits ~= '' then
    leave_limits(id, x)
  end
  redis.call('HDEL', KEY.execution(id), FIELD.entry, FIELD.deadline, FIELD.pending_retention, FIELD.blame,
    FIELD.fail_reason, FIELD.paused_by, FIELD.paused_deadline_ms, FIELD.signalled_at,
    FIELD.kept_by, FIELD.parked_at, FIELD.expires, FIELD.compensates)
  set_status(id, x, status)
  redis.call('ZADD', KEY.expiring, expiry, id)
  if redis.call('ZRANGE', KEY.expiring, 0, 0)[1] == id then
    redis.call('PUBLISH', CHANNEL.timers, expiry)
  end
  redis.call('PUBLISH', CHANNEL.done(id), status)
  if x.parent and x.parent ~= '' then
    report_to_parent(id, x.parent, status)
  end
end
