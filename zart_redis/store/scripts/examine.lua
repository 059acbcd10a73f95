--@include base stream timers fence execution child damaged
-- examine: holds executions against the second law and the indexes; mends them if asked.
--
-- ARGV    '1' to mend, then ids
-- answer  pairs (id, what is wrong): 'lost' nothing will ever wake it; 'entry' its stream entry is gone; 'status' its
--         status is none; 'index' it is not in the set of its status; 'expiry' it is finished and will not expire;
--         'leftover' it is finished and owns waits, timers or scheduled steps; 'child <name>' nothing holds a scheduled
--         step; 'damaged <why>' it cannot be read, or was set aside; 'orphan' other keys of it remain, but it does not
-- emits   when mending, a stream entry for what was lost
--
-- What is damaged is not mended here, but what was set aside and can be read again is queued again.
local mend = ARGV[2] == '1'
local found = {}

local function report(id, what)
  found[#found + 1], found[#found + 2] = id, what
end

local function entry_exists(queue, entry)
  return entry ~= '' and fields_of(queue, entry) ~= nil
end

-- Whether each group of scheduled steps is of as many as it counts, and each of these has still to end.
local function awaits_steps(id, x)
  local missing = {}
  local groups = redis.call('HGETALL', P .. 'g:' .. id)
  for i = 1, #groups, 2 do
    local name, value = groups[i], groups[i + 1]
    if string.sub(name, 1, 1) == '#' then
      local number = string.sub(name, 2)
      missing[number] = (missing[number] or 0) + (tonumber(value) or math.huge)
    elseif redis.call('HEXISTS', P .. 'c:' .. id .. ':' .. x.scope, string.sub(name, 2)) == 0 then
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

-- Whether something that is registered will wake a parked body.
local function will_wake(id, x)
  if x.held ~= '' then
    return redis.call('ZSCORE', P .. 'held:' .. x.held, 'x' .. id)
  end
  if x.finishing ~= '' then
    return redis.call('HLEN', P .. 'c:' .. id .. ':' .. x.scope) > 0
  end
  local timer = tonumber(redis.call('ZSCORE', P .. 'timers', 'x' .. id) or math.huge)
  local waits = redis.call('HGETALL', P .. 'w:' .. id)
  for i = 2, #waits, 2 do
    local letter, rest = string.sub(waits[i], 1, 1), string.sub(waits[i], 2)
    if letter == 'p' then
      if redis.call('ZSCORE', P .. 'held:' .. rest, 'x' .. id) then
        return true
      end
    elseif string.match(waits[i], '^[swadu]%d+$') and timer <= tonumber(rest) or waits[i] == 'w' then
      return true
    end
  end
  return awaits_steps(id, x)
end

local function examine_children(id, x)
  local key = P .. 'c:' .. id .. ':' .. x.scope
  for _, name in ipairs(redis.call('HKEYS', key)) do
    local c, member = read_child(id, x.scope, name), child_member(id, x.scope, name)
    local held = entry_exists(x.queue, c.entry) or redis.call('ZSCORE', P .. 'timers', member)
      or (c.held ~= '' and redis.call('ZSCORE', P .. 'held:' .. c.held, member))
    if not held then
      report(id, 'child ' .. name)
      if mend then
        c.entry, c.held, c.fence = enqueue_child(x.queue, id, x.scope, name), '', next_epoch(c.fence) .. '@'
        write_child(id, x.scope, name, c)
      end
    end
  end
end

local function requeue(id, x)
  if mend then
    if x.held ~= '' then
      let_go(id, x)
    end
    redis.call('HSET', P .. 'x:' .. id, 'fence', next_epoch(x.fence) .. '@')
    redis.call('HDEL', P .. 'x:' .. id, 'finishing')
    enqueue(id, x)
    if x.status == 'waiting' then
      move(id, x, 'running')
    end
  end
end

local function examine_live(id, x)
  if x.entry ~= '' then
    if not entry_exists(x.queue, x.entry) then
      report(id, 'entry')
      requeue(id, x)
    end
  elseif not will_wake(id, x) then
    report(id, 'lost')
    requeue(id, x)
  end
  examine_children(id, x)
end

local function examine_finished(id, x)
  if not redis.call('ZSCORE', P .. 'expiring', id) then
    report(id, 'expiry')
    if mend then
      redis.call('ZADD', P .. 'expiring', now(), id)
      redis.call('PUBLISH', P .. 'timers', now())
    end
  end
  if redis.call('EXISTS', P .. 'w:' .. id, P .. 'g:' .. id, P .. 'c:' .. id .. ':' .. x.scope) > 0
    or redis.call('ZSCORE', P .. 'timers', 'x' .. id) then
    report(id, 'leftover')
    if mend then
      drop_children(id, x)
      forget_waits(id, x)
      redis.call('ZREM', P .. 'timers', 'x' .. id)
    end
  end
end

local function examine_types(id, x)
  local types = { w = '', g = '', h = '' }
  types.r, types.c, types.a, types.e = ':' .. x.scope, ':' .. x.scope, ':' .. x.scope, ':' .. x.run
  for kind, suffix in pairs(types) do
    local found = redis.call('TYPE', P .. kind .. ':' .. id .. suffix).ok
    if found ~= 'none' and found ~= (kind == 'a' and 'list' or 'hash') then
      error('its key ' .. kind .. ': is a ' .. found)
    end
  end
end

-- Its fields belong together: its task and its queue are those that its facet stands for.
local function examine_fields(id, x)
  local task = redis.call('HGET', P .. 'x:' .. id, 'task')
  if redis.call('HGET', P .. 'facets', cjson.encode({ task, x.queue })) ~= x.facet then
    error('its task, its queue and its facet do not belong together')
  elseif not is_scope(x.scope, x.run) then
    error('its run or its scope is none')
  elseif not string.match(x.fence, '^%d+@') then
    error('its fence is none')
  end
  examine_types(id, x)
end

local function examine_index(id, x)
  local right = P .. 'i:' .. x.status .. ':' .. x.facet
  local wrong = not redis.call('ZSCORE', right, id)
  for _, status in ipairs({ 'scheduled', 'running', 'waiting', 'completed', 'failed', 'cancelled' }) do
    local key = P .. 'i:' .. status .. ':' .. x.facet
    if key ~= right and redis.call('ZSCORE', key, id) then
      wrong = true
      if mend then
        redis.call('ZREM', key, id)
      end
    end
  end
  if wrong or not redis.call('ZSCORE', P .. 'ids', id) then
    report(id, 'index')
    if mend then
      redis.call('ZADD', right, x.created, id)
      redis.call('ZADD', P .. 'ids', 0, id)
    end
  end
end

-- Whether anything is left of an execution that is gone: one that was removed since it was listed has left nothing.
local function remains(id)
  if redis.call('EXISTS', P .. 'w:' .. id, P .. 'g:' .. id, P .. 'h:' .. id) > 0
    or redis.call('ZSCORE', P .. 'ids', id) or redis.call('ZSCORE', P .. 'expiring', id)
    or redis.call('ZSCORE', P .. 'timers', 'x' .. id) or redis.call('HEXISTS', P .. 'damaged', id) == 1 then
    return true
  end
  for _, facet in ipairs(redis.call('HVALS', P .. 'facets')) do
    for _, status in ipairs({ 'scheduled', 'running', 'waiting', 'completed', 'failed', 'cancelled' }) do
      if redis.call('ZSCORE', P .. 'i:' .. status .. ':' .. facet, id) then
        return true
      end
    end
  end
  return false
end

local function remove_orphan(id)
  report(id, 'orphan')
  if mend then
    for _, facet in ipairs(redis.call('HVALS', P .. 'facets')) do
      for _, status in ipairs({ 'scheduled', 'running', 'waiting', 'completed', 'failed', 'cancelled' }) do
        redis.call('ZREM', P .. 'i:' .. status .. ':' .. facet, id)
      end
    end
    redis.call('ZREM', P .. 'ids', id)
    redis.call('HDEL', P .. 'damaged', id)
    redis.call('ZREM', P .. 'expiring', id)
    redis.call('ZREM', P .. 'timers', 'x' .. id)
    redis.call('UNLINK', P .. 'w:' .. id, P .. 'g:' .. id, P .. 'h:' .. id)
  end
end

local function examine(id)
  local x = read_execution(id)
  if x.status == '' and redis.call('EXISTS', P .. 'x:' .. id) == 0 then
    if remains(id) then
      remove_orphan(id)
    end
  elseif is_live(x.status) then
    examine_fields(id, x)
    examine_index(id, x)
    examine_live(id, x)
  elseif is_final(x.status) then
    examine_fields(id, x)
    examine_index(id, x)
    examine_finished(id, x)
    redis.call('HDEL', P .. 'damaged', id)
  else
    report(id, 'status')
  end
end

for i = 3, #ARGV do
  local id = ARGV[i]
  local why = failure_of(examine, id)
  if why then
    report(id, 'damaged ' .. why)
  else
    local set_aside_for = redis.call('HGET', P .. 'damaged', id)
    if set_aside_for then
      report(id, 'damaged ' .. set_aside_for)
      if mend then
        redis.call('HDEL', P .. 'damaged', id)
      end
    end
  end
end
return found
