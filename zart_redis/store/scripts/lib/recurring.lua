-- Recurring executions: their ticks are timers.

local function set_tick(id, due, paused)
  if due == '' or paused == '1' then
    redis.call('ZREM', KEY.timers, TIMER.recurring .. id)
  else
    set_timer(TIMER.recurring .. id, due)
  end
end
