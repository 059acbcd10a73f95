-- park: registers what will end of what the body waits for, and forgets what it waits for no more. Unless something has
-- completed, or a step still runs in place, parks the body.
--
-- takes: id, fence, scope, ack, seen, hold, count, waits...
--   seen: the number up to which the worker knows all completions
--   hold: '1' if a step still runs in place: then the waits are only registered; 'keep' if the worker keeps the parked body
--   waits: `count` triples (letter of `Wait`, name, argument), then pairs (letter, name) of what to forget
--     argument: of a sleep or an event '<ms>' from now, '@<ms>' of the clock, or ''; of a timer '@<ms>'; of a message as of
--     an event, a separator, and the channel
-- returns: {'ready', now, number, then triples (letter of `News`, name, record) of what others have completed up to this
--   number} | {'held', now} | {'parked', now} | 'fenced'
-- emits: a timer
-- repeat: fenced — a parked body has another fence; the first registration of a wait fixes when it is due
-- confirm: yes — the body builds on the records
-- memory: allow
local id, fence, scope, ack, seen, hold, count = unpack(ARGV, 2, 8)
seen, count = tonumber(seen), tonumber(count)
local x = read_execution(id)
if not is_held_by(id, x, fence, scope, ack) then
  return 'fenced'
end
local r_key, w_key = KEY.records(id, scope), KEY.waits(id)

-- Registers a wait whose record, made now if there is none, says when it is due.
local function register(kind, name, pending, argument)
  local record = redis.call('HGET', r_key, name)
  if not record then
    record = pending .. due_at(argument)
    redis.call('HSET', r_key, name, record)
  end
  if kind_of(record) == pending then
    redis.call('ZADD', w_key, due_of(record) or '+inf', kind .. name)
  end
end

-- Returns true if the next attempt is due.
local function register_retry(name)
  local record = redis.call('HGET', r_key, name)
  local due = record and kind_of(record) == RECORD.attempts and string.match(record, '^.%d+,%d*,(%d+)$')
  if not due or tonumber(due) <= now() then
    return true
  end
  redis.call('ZADD', w_key, due, WAIT.retry .. name)
end

local extends_deadline = false
local channels = {} -- of which messages may have found a receiver

-- Returns true if the rule has been removed.
local function register_pause(rule_id)
  local text = redis.call('HGET', KEY.pause_rules, rule_id)
  if not text then
    return true
  end
  redis.call('ZADD', w_key, '+inf', WAIT.pause .. rule_id)
  add_paused(rule_id, execution_member(id))
  extends_deadline = extends_deadline or (read_rule(rule_id, text) or {})[RULE.extend]
end

-- Returns true if the wait is over, and is not completed by a record.
local function register_wait(kind, name, argument)
  if kind == WAIT.sleep then
    register(kind, name, RECORD.sleep, argument)
  elseif kind == WAIT.event then
    if redis.call('HEXISTS', KEY.events(id, x.run), name) == 0 then
      register(kind, name, RECORD.wait, argument)
    end
  elseif kind == WAIT.timer then
    if redis.call('HEXISTS', r_key, LAYOUT.timer_prefix .. name) == 0 then
      redis.call('ZADD', w_key, string.sub(argument, 2), kind .. name)
    end
  elseif kind == WAIT.message then
    channels[#channels + 1] = register_receive(id, scope, name, argument)
  elseif kind == WAIT.retry then
    return register_retry(name)
  else
    return register_pause(name)
  end
end

for i = 9 + 3 * count, #ARGV, 2 do
  redis.call('ZREM', w_key, ARGV[i] .. ARGV[i + 1])
  if ARGV[i] == WAIT.pause then
    redis.call('ZREM', KEY.paused(ARGV[i + 1]), execution_member(id))
  elseif ARGV[i] == WAIT.message then
    channels[#channels + 1] = withdraw_receive(id, scope, ARGV[i + 1])
  end
end
local is_over = false
for i = 9, 8 + 3 * count, 3 do
  is_over = register_wait(ARGV[i], ARGV[i + 1], ARGV[i + 2]) or is_over
end
local fired = fire_overdue(id, x)
for _, channel in ipairs(channels) do
  match_messages(id, x, channel)
end
local completions = tonumber(redis.call('HGET', KEY.execution(id), FIELD.completions) or 0)
if completions > seen or is_over or fired > 0 then
  local news, newest = read_news(id, x, seen)
  reschedule_timer(id, x)
  redis.call('HSET', KEY.execution(id), FIELD.signalled_at, now())
  return { 'ready', now(), newest, unpack(news) }
elseif hold == '1' then
  reschedule_timer(id, x)
  return { 'held', now() }
end
forgive(id, x)
if hold == 'keep' then
  detach(id, x, free_fence(x.fence), FIELD.parked_at, completions, FIELD.kept_by, owner_of(fence))
else
  detach(id, x, free_fence(x.fence), FIELD.parked_at, completions)
end
set_status(id, x, STATUS.waiting)
if extends_deadline then
  stop_deadline(id, x)
end
reschedule_timer(id, x)
return { 'parked', now() }
