--@include base insist stream timers fence execution event glob pause
-- park: registers all that may wake the body; unless something already has, and no step runs in place, puts it down.
--
-- ARGV    id, fence, scope, last, hold ('1': a step still runs in place, register only), then triples (kind, name, argument):
--           'sleep', name, '<ms>' from now or '@<ms>' of the clock
--           'event', name, '<ms>' from now or ''
--           'retry', name, ''      until the next try that `attempt` recorded
--           'pause', name, rule    until the pause rule goes
--           'group', number, ''    until the group's steps have ended (see join)
-- answer  {'ready', now, then triples (kind, name, record)}   go on with these
--         {'held'} | {'parked'} | 'fenced'
-- emits   a timer
--
-- The first registration of a sleep or of an event's timeout fixes when it is due: 's<due>' and 'w<due>' in r:;
-- 'S' and 'T' say that it has passed. In w:<id>, which lasts as long as the pass, the same waits under their names.
local id, fence, scope, last, hold = unpack(ARGV, 2, 6)
local x = read_execution(id)
if not is_held(id, x, fence, scope, last) then
  return 'fenced'
end
local r_key, w_key = P .. 'r:' .. id .. ':' .. scope, P .. 'w:' .. id
local answer = { 'ready', now() }

local function ready(kind, name, record)
  answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] = kind, name, record
end

local function due_at(argument)
  if argument == '' then
    return ''
  elseif string.sub(argument, 1, 1) == '@' then
    return string.sub(argument, 2)
  end
  return string.format('%d', now() + tonumber(argument))
end

-- The record of a wait as it stands, made now if there is none.
local function pending(name, letter, argument)
  local record = redis.call('HGET', r_key, name)
  if not record then
    record = letter .. due_at(argument)
    redis.call('HSET', r_key, name, record)
  end
  return record
end

local function overdue(record)
  local due = tonumber(string.sub(record, 2))
  return due and due <= now()
end

-- A wait whose time has come is recorded as passed; any other is registered, or was ended by its record before.
local function timed(kind, name, record, letter, passed)
  if string.sub(record, 1, 1) ~= letter then
    ready(kind, name, record)
  elseif overdue(record) then
    record = passed .. stamp()
    redis.call('HSET', r_key, name, record)
    redis.call('HDEL', w_key, name)
    ready(kind, name, record)
  else
    redis.call('HSET', w_key, name, record)
  end
end

local extends = false
for i = 7, #ARGV, 3 do
  local kind, name, argument = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if kind == 'sleep' then
    timed(kind, name, pending(name, 's', argument), 's', 'S')
  elseif kind == 'event' then
    local record = pending(name, 'w', argument)
    local event = redis.call('HGET', P .. 'e:' .. id .. ':' .. x.run, name)
    if event and string.sub(record, 1, 1) == 'w' and in_time(event, record) then
      ready(kind, name, 'E' .. event)
    else
      timed(kind, name, record, 'w', 'T')
    end
  elseif kind == 'retry' then
    local record = redis.call('HGET', r_key, name)
    local due = string.match(record, '^a%d+,%d*,(%d+)$')
    if not due or tonumber(due) <= now() then
      redis.call('HDEL', w_key, name)
      ready(kind, name, record)
    else
      redis.call('HSET', w_key, name, 'a' .. due)
    end
  elseif kind == 'pause' then
    local rule = redis.call('HGET', P .. 'rules', argument)
    if not rule then
      ready(kind, name, '')
    else
      redis.call('HSET', w_key, name, 'p' .. argument)
      hold_member(argument, 'x' .. id)
      extends = extends or (read_rule(argument, rule) or {}).extend
    end
  elseif (redis.call('HGET', P .. 'g:' .. id, '#' .. name) or '0') == '0' then
    ready(kind, name, '')
  end
end

if #answer > 2 then
  arm(id, x)
  redis.call('HSET', P .. 'x:' .. id, 'told', now())
  return answer
elseif hold == '1' then
  arm(id, x)
  return { 'held' }
end
put_down(id, x)
if extends then
  stop_clock(id, x)
end
arm(id, x)
return { 'parked' }
