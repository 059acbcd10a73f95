-- Removing the scheduled steps of an execution that ends without them: their entries, timers and claims go.

local STEPS_IN_BATCH = 200

-- `is_shared` is true if a later step of the same name may use the same timer and pause: then these stay, since they do no
-- harm.
local function drop_step(id, scope, name, queue, packed, is_shared)
  local readable, step = pcall(unpack_step, packed)
  if not readable then
    return -- nothing says where its entry is; a worker that finds it deletes it
  end
  if step.child then
    return give_up_child(step)
  elseif step.entry then
    notify_worker(step.fence, SIGNAL.revoke, step.queue or queue, step.entry)
    ack_and_delete(step.queue or queue, step.entry)
  elseif is_shared then
    return
  elseif step.paused_by then
    redis.call('ZREM', KEY.paused(step.paused_by), step_member(id, scope, name))
  else
    redis.call('ZREM', KEY.timers, step_member(id, scope, name))
  end
  if step.unserved then
    remove_unserved(step_member(id, scope, name), string.match(step.unserved, '^(%d+):(%d+)$'))
  end
  if step.unrunnable then
    redis.call('HDEL', KEY.held, step_member(id, scope, name))
  end
end

-- Renames the steps, so that nothing claims or completes them any more, and leaves their removal to `due`. The empty name
-- holds the queue.
local function set_steps_aside(id, x, key)
  local number = now()
  while redis.call('RENAMENX', key, KEY.dropped_steps(id, x.scope, string.format('%d', number))) == 0 do
    number = number + 1
  end
  local dropped = KEY.dropped_steps(id, x.scope, string.format('%d', number))
  redis.call('HSET', dropped, '', x.queue)
  set_timer(dropped_member(dropped), now())
end

local function drop_steps(id, x)
  local key = KEY.steps(id, x.scope)
  if redis.call('HLEN', key) == 0 then
    return
  end
  redis.call('HDEL', KEY.execution(id), FIELD.outliving)
  if redis.call('HLEN', key) > STEPS_IN_BATCH then
    return set_steps_aside(id, x, key)
  end
  local steps = redis.call('HGETALL', key)
  for i = 1, #steps, 2 do
    drop_step(id, x.scope, steps[i], x.queue, steps[i + 1], false)
  end
  redis.call('DEL', key)
end

-- Removes up to `limit` of the steps that were set aside under a key. Returns how many there were to remove.
local function drop_batch(key, limit)
  local id, scope = string.match(string.sub(key, #P + 1), '^%a:(.*):([^:]*):%d+$')
  local queue = redis.call('HGET', key, '')
  local names = redis.call('HRANDFIELD', key, limit)
  for _, name in ipairs(names) do
    if name ~= '' then
      local is_shared = redis.call('HEXISTS', KEY.steps(id, scope), name) == 1
      drop_step(id, scope, name, queue, redis.call('HGET', key, name), is_shared)
      redis.call('HDEL', key, name)
    end
  end
  if redis.call('HLEN', key) <= 1 then
    redis.call('DEL', key)
    redis.call('ZREM', KEY.timers, dropped_member(key))
  end
  return #names
end
