-- A scheduled step that has not ended: one field of the steps of its scope, a packed map. Fields without a value are
-- absent; what this version does not know is kept.

local function unpack_step(packed)
  local step = cmsgpack.unpack(packed)
  if type(step) ~= 'table' then
    error('a scheduled step is not a map')
  end
  return step
end

local function read_step(id, scope, name)
  local packed = redis.call('HGET', KEY.steps(id, scope), name)
  return packed and unpack_step(packed)
end

local function write_step(id, scope, name, step)
  redis.call('HSET', KEY.steps(id, scope), name, cmsgpack.pack(step))
end

-- `blame` is the step's, nil for a new one.
local function enqueue_step(queue, id, scope, name, blame, lane)
  return add_entry(queue, lane_of(blame, lane), ENTRY.step, id, ENTRY_FIELD.scope, scope, ENTRY_FIELD.name, name)
end

-- The queue of a step of this execution.
local function queue_of_step(id, step)
  return step.queue or redis.call('HGET', KEY.execution(id), FIELD.queue)
end

-- How timers and pause rules name it.
local function step_member(id, scope, name)
  return TIMER.step .. cjson.encode({ id, scope, name })
end
