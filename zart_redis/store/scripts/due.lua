--@include base insist stream timers fence execution child damaged
-- due: moves on what has come due: delayed starts, sleeps, timeouts of events, retries, deadlines, and what a pause rule
-- that has gone still holds.
--
-- ARGV    how many at most
-- answer  {fired, when the next timer is due or '', when the next execution expires or '', now, then pairs (id or ''
--         if none is known, why) of what cannot be read and was set aside}
-- emits   a stream entry for each body or step that may go on
local limit = tonumber(ARGV[2])
local timers = P .. 'timers'
local unreadable = {}

-- The deadline takes the execution from whatever holds it, and queues it for a worker that will fail it.
local function pass_deadline(id, x)
  signal_owner(x.fence, 'drop', x.entry)
  drop_children(id, x)
  forget_entry(x.queue, x.entry)
  forget_waits(id, x)
  if x.held ~= '' then
    let_go(id, x)
  end
  redis.call('HDEL', P .. 'x:' .. id, 'deadline', 'finishing')
  redis.call('HSET', P .. 'x:' .. id, 'doom', 'deadline', 'fence', next_epoch(x.fence) .. '@')
  enqueue(id, x)
  if x.status == 'waiting' then
    move(id, x, 'running')
  end
end

local function fire_waits(id, x)
  local w_key, r_key = P .. 'w:' .. id, P .. 'r:' .. id .. ':' .. x.scope
  local waits, fired = redis.call('HGETALL', w_key), false
  for i = 1, #waits, 2 do
    local name, letter, due = waits[i], string.sub(waits[i + 1], 1, 1), tonumber(string.sub(waits[i + 1], 2))
    if due and due <= now() then
      fired = true
      redis.call('HDEL', w_key, name)
      if letter == 's' then
        redis.call('HSET', r_key, name, 'S' .. stamp())
      elseif letter == 'w' then
        redis.call('HSET', r_key, name, 'T' .. stamp())
      end
    end
  end
  if fired then
    wake(id, x)
  end
  arm(id, x)
end

local function fire_execution(id)
  local x = read_execution(id)
  if not is_live(x.status) then
    redis.call('ZREM', timers, 'x' .. id)
  elseif x.deadline ~= '' and tonumber(x.deadline) <= now() then
    pass_deadline(id, x)
  else
    fire_waits(id, x)
  end
end

local function let_execution_go(id, rule)
  local x = read_execution(id)
  if not is_live(x.status) then
    return
  end
  local w_key, holds_it = P .. 'w:' .. id, x.held == rule
  local waits = redis.call('HGETALL', w_key)
  for i = 1, #waits, 2 do
    if waits[i + 1] == 'p' .. rule then
      redis.call('HDEL', w_key, waits[i])
      holds_it = true
    end
  end
  if holds_it and (x.held == '' or x.held == rule) then
    let_go(id, x)
    wake(id, x)
    arm(id, x)
  end
end

-- Calls f(...), which moves on what a timer stands for; one that cannot be read keeps no other from firing.
local function fire(member, f, ...)
  local why = failure_of(f, ...)
  if not why then
    return
  end
  redis.call('ZREM', timers, member)
  local id = string.match(member, '^x(.+)$')
  if string.sub(member, 1, 1) == 's' then
    local readable, parts = pcall(cjson.decode, string.sub(member, 2))
    id = readable and type(parts) == 'table' and type(parts[1]) == 'string' and parts[1]
  end
  if id and redis.call('EXISTS', P .. 'x:' .. id) == 1 then
    set_aside(id, why)
  end
  unreadable[#unreadable + 1] = id or ''
  unreadable[#unreadable + 1] = id and why or 'a timer stands for nothing: ' .. string.sub(member, 1, 100)
end

local function fire_child(member)
  redis.call('ZREM', timers, member)
  local id, scope, name = unpack(cjson.decode(string.sub(member, 2)))
  local c = read_child(id, scope, name)
  if c and c.entry == '' then
    c.held = ''
    c.entry = enqueue_child(redis.call('HGET', P .. 'x:' .. id, 'queue'), id, scope, name)
    write_child(id, scope, name, c)
  end
end

-- A pause rule has gone: what it held goes on, in bounded lots.
local function let_go_of(rule)
  local key = P .. 'held:' .. rule
  for _, member in ipairs(redis.call('ZRANGE', key, 0, limit - 1)) do
    redis.call('ZREM', key, member)
    if string.sub(member, 1, 1) == 'x' then
      fire(member, let_execution_go, string.sub(member, 2), rule)
    else
      fire(member, fire_child, member)
    end
  end
  if redis.call('ZCARD', key) == 0 then
    redis.call('ZREM', timers, 'r' .. rule)
  end
end

local fired = redis.call('ZRANGEBYSCORE', timers, '-inf', now(), 'LIMIT', 0, limit)
for _, member in ipairs(fired) do
  local letter = string.sub(member, 1, 1)
  if letter == 'x' then
    fire(member, fire_execution, string.sub(member, 2))
  elseif letter == 'r' then
    fire(member, let_go_of, string.sub(member, 2))
  else
    fire(member, fire_child, member)
  end
end

local function first_of(key)
  return redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2] or ''
end

return { #fired, first_of(timers), first_of(P .. 'expiring'), now(), unpack(unreadable) }
