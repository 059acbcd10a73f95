-- An execution's own state, x:<id>: reading it, the fence, its place in the index, waking it, ending it.
--
-- fence   "<epoch>@<worker>" while a worker holds the body, "<epoch>@" while none does
-- entry   the stream entry that stands for the body, queued or held; '' while it is parked
-- scope   "<run>" for the body, "<run>f" for its on_failure body: the suffix of r: and c:

local FIELDS = { 'status', 'facet', 'created', 'queue', 'fence', 'entry', 'scope', 'deadline', 'run', 'finishing',
  'held' }

local function read_execution(id)
  local values = redis.call('HMGET', P .. 'x:' .. id, unpack(FIELDS))
  local x = {}
  for i, field in ipairs(FIELDS) do
    x[field] = values[i] or ''
  end
  return x
end

local function is_held(id, x, fence, scope, last)
  return x.fence == fence and x.scope == scope and stands(id, scope, last)
end

local function is_live(status)
  return status == 'scheduled' or status == 'running' or status == 'waiting'
end

local function is_final(status)
  return status == 'completed' or status == 'failed' or status == 'cancelled'
end

-- Whether these belong together: a run, and the suffix of the keys of its body or of its on_failure body.
local function is_scope(scope, run)
  return run and string.match(run, '^%d+$') and (scope == run or scope == run .. 'f')
end

local function signal_owner(fence, word, entry)
  local owner = owner_of(fence)
  if owner then
    redis.call('PUBLISH', P .. 'worker:' .. owner, word .. ' ' .. entry)
  end
end

-- Each execution stands in exactly one sorted set: that of its status and of its (task, queue) facet.
local function move(id, x, status)
  if x.status ~= status then
    redis.call('ZREM', P .. 'i:' .. x.status .. ':' .. x.facet, id)
    redis.call('ZADD', P .. 'i:' .. status .. ':' .. x.facet, x.created, id)
    redis.call('HSET', P .. 'x:' .. id, 'status', status)
    x.status = status
  end
end

local function enqueue(id, x, mark)
  x.entry = add_entry(x.queue, mark or '', 'x', id)
  redis.call('HSET', P .. 'x:' .. id, 'entry', x.entry)
end

-- One timer an execution: the earliest of its deadline and of the waits in w:<id>.
local function arm(id, x)
  local due = tonumber(x.deadline)
  for _, wait in ipairs(redis.call('HVALS', P .. 'w:' .. id)) do
    local at = tonumber(string.sub(wait, 2))
    if at and (not due or at < due) then
      due = at
    end
  end
  if due then
    set_timer('x' .. id, due)
  else
    redis.call('ZREM', P .. 'timers', 'x' .. id)
  end
end

-- A cause has been recorded: a parked body is queued, one that a worker holds is told of it.
local function wake(id, x)
  if x.held ~= '' then
    return -- a pause rule holds it; what was recorded waits with it
  end
  if x.entry == '' then
    enqueue(id, x)
    if x.status == 'waiting' then
      move(id, x, 'running')
    end
  else
    signal_owner(x.fence, 'poke', x.entry)
  end
end

-- Takes the body out of its worker's hands and parks it: no entry, nobody's fence.
local function put_down(id, x)
  forget_entry(x.queue, x.entry)
  x.entry = ''
  x.fence = free_fence(x.fence)
  redis.call('HSET', P .. 'x:' .. id, 'entry', '', 'fence', x.fence)
  move(id, x, 'waiting')
end

-- What a pass waits for goes, what a pause rule holds it by, and its one timer.
local function forget_waits(id, x)
  local waits = redis.call('HVALS', P .. 'w:' .. id)
  for _, wait in ipairs(waits) do
    if string.sub(wait, 1, 1) == 'p' then
      redis.call('ZREM', P .. 'held:' .. string.sub(wait, 2), 'x' .. id)
    end
  end
  if x.held ~= '' then
    redis.call('ZREM', P .. 'held:' .. x.held, 'x' .. id)
  end
  redis.call('DEL', P .. 'w:' .. id, P .. 'g:' .. id)
  if #waits > 0 or x.deadline ~= '' then -- else it has no timer
    redis.call('ZREM', P .. 'timers', 'x' .. id)
  end
end

-- A pause rule lets go of it: the clock of its deadline goes on.
local function let_go(id, x)
  if x.held ~= '' then
    redis.call('ZREM', P .. 'held:' .. x.held, 'x' .. id)
    x.held = ''
  end
  local remaining = redis.call('HGET', P .. 'x:' .. id, 'remaining')
  if remaining then
    x.deadline = now() + tonumber(remaining)
    redis.call('HSET', P .. 'x:' .. id, 'deadline', x.deadline)
  end
  redis.call('HDEL', P .. 'x:' .. id, 'held', 'remaining')
end

-- The end of a run: nothing may move it any more, its waiters are told, its retention begins.
local function complete(id, x, status, retention)
  forget_entry(x.queue, x.entry)
  forget_waits(id, x)
  redis.call('HDEL', P .. 'x:' .. id, 'entry', 'deadline', 'finishing', 'crashes', 'doom', 'progress', 'held',
    'remaining', 'told')
  redis.call('HSET', P .. 'x:' .. id, 'fence', next_epoch(x.fence) .. '@', 'finished', now())
  move(id, x, status)
  redis.call('ZADD', P .. 'expiring', now() + tonumber(retention), id)
  if redis.call('ZRANGE', P .. 'expiring', 0, 0)[1] == id then
    redis.call('PUBLISH', P .. 'timers', now() + tonumber(retention))
  end
  redis.call('PUBLISH', P .. 'done:' .. id, status)
end
