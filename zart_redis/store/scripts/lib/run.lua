-- Runs: the end of one goes into the history, the next one begins.

local function archive(id)
  local key = P .. 'x:' .. id
  local v = redis.call('HMGET', key, 'run', 'status', 'facet')
  redis.call('HSET', P .. 'h:' .. id, v[1], cmsgpack.pack(redis.call('HGETALL', key)))
  redis.call('ZREM', P .. 'i:' .. v[2] .. ':' .. v[3], id)
  redis.call('ZREM', P .. 'expiring', id)
  redis.call('HDEL', P .. 'damaged', id)
  redis.call('DEL', key)
end

-- Ends a run that is live: what it has in hand is fenced off, its children, timers and waits go.
local function break_off(id, x)
  signal_owner(x.fence, 'drop', x.entry)
  drop_children(id, x)
  forget_entry(x.queue, x.entry)
  forget_waits(id, x)
  redis.call('HSET', P .. 'x:' .. id, 'finished', now())
  move(id, x, 'cancelled')
  redis.call('PUBLISH', P .. 'done:' .. id, 'cancelled')
end

local function facet_of(task, queue)
  local name = cjson.encode({ task, queue })
  local facet = redis.call('HGET', P .. 'facets', name)
  if not facet then
    facet = tostring(redis.call('HLEN', P .. 'facets') + 1)
    redis.call('HSET', P .. 'facets', name, facet)
  end
  return facet
end

-- run: { number, fence, task, queue, input, nonce, trigger, by, delay, timeout }; the last four may be ''
local function begin_run(id, run)
  local key = P .. 'x:' .. id
  local facet = facet_of(run.task, run.queue)
  local x = { status = 'scheduled', facet = facet, created = now(), queue = run.queue, entry = '', deadline = '' }
  redis.call('HSET', key, 'status', x.status, 'task', run.task, 'queue', run.queue, 'facet', facet,
    'run', run.number, 'scope', run.number, 'fence', run.fence, 'entry', '', 'attempt', 1, 'created', x.created,
    'input', run.input, 'nonce', run.nonce)
  if run.trigger ~= '' then
    redis.call('HSET', key, 'trigger', run.trigger)
  end
  if run.by ~= '' then
    redis.call('HSET', key, 'by', run.by)
  end
  redis.call('ZADD', P .. 'i:scheduled:' .. facet, x.created, id)
  redis.call('ZADD', P .. 'ids', 0, id)
  if run.timeout ~= '' then
    x.deadline = now() + tonumber(run.timeout)
    redis.call('HSET', key, 'deadline', x.deadline)
  end
  if run.delay == '' then
    enqueue(id, x)
  else
    redis.call('HSET', P .. 'w:' .. id, '', 'd' .. (now() + tonumber(run.delay)))
  end
  if run.delay ~= '' or run.timeout ~= '' then
    arm(id, x)
  end
end
