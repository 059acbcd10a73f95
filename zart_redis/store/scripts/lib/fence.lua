-- The fence: "<epoch>@<worker>" while a worker holds the work, "<epoch>@" while none does.
--
-- Redis may lose the newest of what it has acknowledged, in a crash or a failover, and the worker that holds a body may
-- have built upon it. It loses the newest first; so the worker shows what was last acknowledged to it since its claim, and
-- where that is gone it is refused as if its fence were old, and the body begins again from what is there:
--
-- last    'r<name>' a final record, 'a<name>' one of attempts, 'c<name>' a scheduled step, 't<ms>' what `park` told, which
--         others have written: x: says in `told` when it last did; '' nothing since the claim

local function stands(id, scope, last)
  if last == '' then
    return true
  end
  local kind, name = string.sub(last, 1, 1), string.sub(last, 2)
  if kind == 't' then
    return (tonumber(redis.call('HGET', P .. 'x:' .. id, 'told') or 0) or 0) >= tonumber(name)
  end
  local record = redis.call('HGET', P .. 'r:' .. id .. ':' .. scope, name)
  if kind == 'r' then
    return record and string.sub(record, 1, 1) ~= 'a'
  end
  return record or (kind == 'c' and redis.call('HEXISTS', P .. 'c:' .. id .. ':' .. scope, name) == 1)
end

local function holds(id, fence, scope, last)
  local x = redis.call('HMGET', P .. 'x:' .. id, 'fence', 'scope')
  return x[1] == fence and x[2] == scope and stands(id, scope, last)
end

-- An epoch that cannot be read was lower than the time in ms.
local function epoch_of(fence)
  return tonumber(string.match(fence or '', '^%d+') or now())
end

-- Above the one before, and by the time: Redis may have lost that the next number was given out already.
local function next_epoch(fence)
  return string.format('%d', math.max(epoch_of(fence) + 1, now()))
end

local function free_fence(fence)
  return string.format('%d', epoch_of(fence)) .. '@'
end

local function owner_of(fence)
  return string.match(fence, '@(.+)$')
end
