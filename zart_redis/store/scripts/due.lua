-- due: fires what is due: delayed starts, sleeps, event timeouts, retries, deadlines, expiries; releases what removed pause rules
-- still hold, and moves the lines of limits.
--
-- takes: limit
-- returns: {fired, when the next timer is due or '', when the next execution expires or '', now, recurring executions whose
--   tick the caller must handle, mails that it must deliver (number, then names and values of parts), then pairs (id or '', why) of what could not be read and was set aside}
-- emits: a stream entry for each body or step that can continue; the final status to those who wait for an execution that
--   has not begun in time
-- repeat: same — a timer that has fired is gone, or fires again without effect
-- confirm: no — a lost effect leaves the timer, which fires again
-- memory: allow
local limit = unpack(ARGV, 2)
limit = tonumber(limit)
local due = redis.call('ZRANGEBYSCORE', KEY.timers, '-inf', now(), 'LIMIT', 0, limit)
local unreadable, recurring, mails = {}, {}, {}

local function first_due(key)
  return redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2] or ''
end

local function reply()
  return { #due, first_due(KEY.timers), first_due(KEY.expiring), now(), recurring, mails, unpack(unreadable) }
end

if #due == 0 then
  return reply()
end

local drainable = limit -- how much of what removed pause rules held, and of dropped steps, may be drained here

local function fire_execution(member, id)
  local x = read_execution(id)
  if not is_live(x.status) then
    redis.call('ZREM', KEY.timers, member)
  elseif is_beyond_us(x.needs) then
    put_off_timer(member)
  elseif lapse(id, x) then
    return
  elseif has_expired(x) then
    take_to_fail(id, x, FAIL_REASON.deadline)
  elseif x.pending_retention ~= '' and is_done_with_steps(id, x) then
    complete(id, x, final_status(x), x.pending_retention)
  elseif fire_overdue(id, x) > 0 then
    wake(id, x)
    reschedule_timer(id, x)
  else
    reschedule_timer(id, x)
  end
end

local function release_body(id, rule_id)
  local x = read_execution(id)
  if not is_live(x.status) then
    return
  end
  local is_paused = redis.call('ZREM', KEY.waits(id), WAIT.pause .. rule_id) == 1 or x.paused_by == rule_id
  if is_paused and (x.paused_by == '' or x.paused_by == rule_id) then
    release_from_pause(id, x)
    wake(id, x)
    reschedule_timer(id, x)
  end
end

-- Calls f(...), which fires a timer; one that cannot be read does not keep the others from firing.
local function fire(member, f, ...)
  local why = failure_of(f, ...)
  if not why then
    return
  end
  redis.call('ZREM', KEY.timers, member)
  local kind, id = string.sub(member, 1, 1), nil
  if kind == TIMER.execution then
    id = string.sub(member, 2)
  elseif kind == TIMER.step then
    local readable, parts = pcall(cjson.decode, string.sub(member, 2))
    id = readable and type(parts) == 'table' and type(parts[1]) == 'string' and parts[1]
  end
  if id and redis.call('EXISTS', KEY.execution(id)) == 1 then
    local set = kind == TIMER.execution and set_body_aside or set_aside
    set(id, why)
  end
  unreadable[#unreadable + 1] = id or ''
  unreadable[#unreadable + 1] = id and why or 'unreadable timer, removed: ' .. string.sub(member, 1, 100)
end

-- A pause rule was removed: releases what it held, in batches. If the rule is back, it holds what is left.
local function drain_resumed_rule(member, rule_id)
  local key = KEY.paused(rule_id)
  if redis.call('HEXISTS', KEY.pause_rules, rule_id) == 1 then
    redis.call('ZREM', KEY.timers, member)
    return
  end
  local batch = drainable > 0 and redis.call('ZRANGE', key, 0, drainable - 1) or {}
  drainable = drainable - #batch
  for _, paused in ipairs(batch) do
    redis.call('ZREM', key, paused)
    if string.sub(paused, 1, 1) == TIMER.execution then
      fire(paused, release_body, string.sub(paused, 2), rule_id)
    else
      fire(paused, release_step, paused)
    end
  end
  if redis.call('ZCARD', key) == 0 then
    redis.call('ZREM', KEY.timers, member)
  end
end

local function drain_dropped_steps(member, name)
  local key = P .. name
  if redis.call('EXISTS', key) == 0 then
    redis.call('ZREM', KEY.timers, member)
  elseif drainable > 0 then
    drainable = drainable - drop_batch(key, drainable)
  end
end

local function retry_entry(member)
  local queue, entry = unpack(cjson.decode(string.sub(member, 2)))
  redis.call('ZREM', KEY.timers, member)
  local fields = read_entry(queue, entry)
  if fields then
    requeue_entry(queue, entry, fields)
  end
end

local function move_line(member, counter)
  if drainable > 0 then
    redis.call('ZREM', KEY.timers, member)
    drainable = drainable - promote(counter, drainable)
  end
end

-- Looks at the lines of a limit whose numbers have changed, in batches.
local function move_lines(member, text)
  local name, cursor = unpack(cjson.decode(text))
  local scanned = redis.call('SSCAN', KEY.counters, cursor, 'COUNT', 100)
  redis.call('ZREM', KEY.timers, member)
  for _, counter in ipairs(scanned[2]) do
    if limit_of(counter) == name then
      set_timer(TIMER.limit .. counter, now())
    end
  end
  if scanned[1] ~= '0' then
    set_timer(changed_limit_member(name, scanned[1]), now())
  end
end

local TICK_LEASE_MS = 5000

-- The caller handles the tick; if it dies, the timer fires again.
local function tick(member, id)
  if redis.call('EXISTS', KEY.recurring(id)) == 0 then
    redis.call('ZREM', KEY.timers, member)
  else
    redis.call('ZADD', KEY.timers, now() + TICK_LEASE_MS, member)
    recurring[#recurring + 1] = id
  end
end

local MAX_MAILS = 20

-- The caller delivers the mail; if it dies, the timer fires again.
local function take_mail(member, number)
  local packed = redis.call('HGET', KEY.mail, number)
  if not packed then
    redis.call('ZREM', KEY.timers, member)
  elseif #mails < MAX_MAILS then
    local flat = { number }
    for name, value in pairs(cmsgpack.unpack(packed)) do
      flat[#flat + 1], flat[#flat + 2] = name, value
    end
    redis.call('ZADD', KEY.timers, now() + TICK_LEASE_MS, member)
    mails[#mails + 1] = flat
  end
end

local function fire_timer(member)
  local kind, rest = string.sub(member, 1, 1), string.sub(member, 2)
  if kind == TIMER.execution then
    fire(member, fire_execution, member, rest)
  elseif kind == TIMER.step then
    fire(member, release_step, member)
  elseif kind == TIMER.resumed then
    fire(member, drain_resumed_rule, member, rest)
  elseif kind == TIMER.dropped then
    fire(member, drain_dropped_steps, member, rest)
  elseif kind == TIMER.entry then
    fire(member, retry_entry, member)
  elseif kind == TIMER.limit then
    fire(member, move_line, member, rest)
  elseif kind == TIMER.recurring then
    tick(member, rest)
  elseif kind == TIMER.mail then
    fire(member, take_mail, member, rest)
  elseif kind == TIMER.changed_limit then
    fire(member, move_lines, member, rest)
  else
    put_off_timer(member)
  end
end

for _, member in ipairs(due) do
  fire_timer(member)
end
return reply()
