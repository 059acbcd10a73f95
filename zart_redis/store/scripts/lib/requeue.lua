-- Work that comes back: from a dead worker, or because nobody could take it.

-- Leaves an entry unchanged in its stream, for a version that understands it; a timer brings it up again.
local function put_entry_off(queue, entry)
  local key, id = stream_of(queue, entry)
  redis.call('XCLAIM', key, LAYOUT.group, LAYOUT.unclaimed, 0, id, 'JUSTID')
  set_timer(TIMER.entry .. cjson.encode({ queue, entry }), now() + PUT_OFF_MS)
end

-- A body that has more records than at the death before has made progress since: then only the new death is held against
-- it.
local function blame_body(id, x, death)
  local blame, records = read_blame(x.blame), redis.call('HLEN', KEY.records(id, x.scope))
  if blame and records > (blame[BLAME.records] or 0) then
    blame = nil
  end
  blame = blame_for(blame, x.fence, death)
  blame[BLAME.records] = records
  x.blame = cmsgpack.pack(blame)
  redis.call('HSET', KEY.execution(id), FIELD.blame, x.blame)
  if blame[BLAME.convicted] then
    redis.call('HSET', KEY.execution(id), FIELD.fail_reason, FAIL_REASON.crashes)
  end
end

local function has_died(death, fence)
  return death and death.cause ~= CAUSE.leaving and owner_of(fence) == death.worker
end

local function requeue_body(queue, entry, id, death)
  local x = read_execution(id)
  if x.entry ~= entry then
    return ack_and_delete(queue, entry)
  elseif is_beyond_us(x.needs) then
    return put_entry_off(queue, entry)
  end
  local fence = x.fence
  if death and owner_of(fence) == death.worker then
    notify_worker(fence, SIGNAL.revoke, queue, entry) -- it may only be slow
    fence = next_fence(fence, '')
  end
  if has_died(death, x.fence) then
    blame_body(id, x, death)
  end
  detach(id, x, fence)
  enqueue(id, x, LANE.returned)
  return true
end

local function requeue_step(queue, entry, id, scope, name, death)
  local step = read_step(id, scope, name)
  if not step or step.entry ~= entry then
    return ack_and_delete(queue, entry)
  elseif is_beyond_us(redis.call('HGET', KEY.execution(id), FIELD.needs)) then
    return put_entry_off(queue, entry)
  end
  local fence = step.fence
  if has_died(death, fence) then
    step.blame = cmsgpack.pack(blame_for(read_blame(step.blame), fence, death))
  end
  if death and owner_of(fence) == death.worker then
    notify_worker(fence, SIGNAL.revoke, queue, entry)
    fence = next_fence(fence, '')
  end
  detach_step(queue, step, fence)
  step.entry = enqueue_step(queue, id, scope, name, step.blame, LANE.returned)
  write_step(id, scope, name, step)
  return true
end

-- Queues the work of an entry again; `death` is that of the worker for which it was pending (see blame_for), nil if
-- there is none. Returns true if it did.
local function requeue_entry(queue, entry, fields, death)
  if fields[1] == ENTRY.execution then
    return requeue_body(queue, entry, fields[2], death)
  elseif fields[1] == ENTRY.step and fields[6] then
    return requeue_step(queue, entry, fields[2], fields[4], fields[6], death)
  elseif fields[1] then
    put_entry_off(queue, entry)
  end
end
