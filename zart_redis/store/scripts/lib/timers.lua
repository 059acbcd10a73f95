-- The timers: one sorted set of due times.

-- How long an unknown or unusable timer is postponed, so that it neither spins nor blocks those behind it.
local PUT_OFF_MS = 2000

-- Sets a timer, and notifies the workers' timer loops if it is now the first one due.
local function set_timer(member, due)
  redis.call('ZADD', KEY.timers, due, member)
  if redis.call('ZRANGE', KEY.timers, 0, 0)[1] == member then
    redis.call('PUBLISH', CHANNEL.timers, due)
  end
end

-- The timer that removes scheduled steps which were set aside under a key.
local function dropped_member(key)
  return TIMER.dropped .. string.sub(key, #P + 1)
end

-- When something is due: '<ms>' from now, '@<ms>' of the clock, or '' if never.
local function due_at(argument)
  if argument == '' then
    return ''
  elseif string.sub(argument, 1, 1) == '@' then
    return string.sub(argument, 2)
  end
  return in_ms(argument)
end

local function put_off_timer(member)
  redis.call('ZADD', KEY.timers, 'XX', now() + PUT_OFF_MS, member)
end
