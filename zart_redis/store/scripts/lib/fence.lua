-- The fence: "<epoch>@<worker>" while a worker holds the work, "<epoch>@" while none does.
--
-- Redis may lose the newest of what it has acknowledged, in a crash or a failover, and the worker that holds a body may
-- have built upon it. So x: counts in `turns` the answers of a claim that its body goes on from, and the worker shows how
-- many it knows: one that knows of more is refused as if its fence were old, and begins again from what is there.

local function count_turn(id)
  return redis.call('HINCRBY', P .. 'x:' .. id, 'turns', 1)
end

-- Whether the worker still holds the body; its turn is counted then.
local function takes_turn(id, fence, known)
  local key = P .. 'x:' .. id
  if redis.call('HGET', key, 'fence') ~= fence then
    return false
  elseif count_turn(id) > tonumber(known) then
    return true
  end
  redis.call('HDEL', key, 'turns') -- so that one it asks for beside this one is not taken for it
  return false
end

-- An epoch that cannot be read was lower than the time in ms.
local function epoch_of(fence)
  return tonumber(string.match(fence or '', '^%d+') or now())
end

local function next_epoch(fence)
  return string.format('%d', epoch_of(fence) + 1)
end

local function free_fence(fence)
  return string.format('%d', epoch_of(fence)) .. '@'
end

local function owner_of(fence)
  return string.match(fence, '@(.+)$')
end
