-- The timers: one sorted set of due times.

-- Sets a timer; if it is now the first one due, the workers' timer loops are told.
local function set_timer(member, due)
  redis.call('ZADD', P .. 'timers', due, member)
  if redis.call('ZRANGE', P .. 'timers', 0, 0)[1] == member then
    redis.call('PUBLISH', P .. 'timers', due)
  end
end
