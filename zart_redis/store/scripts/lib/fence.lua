-- The fence: "<epoch>@<worker>" while a worker holds the work, "<epoch>@" while none does.

local function holds(id, fence)
  return redis.call('HGET', P .. 'x:' .. id, 'fence') == fence
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
