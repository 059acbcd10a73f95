-- Limits: how many runs may be live at a time, and how often one may begin, over all workers.
--
-- A counter is the name of a limit, or the name, a separator and a key. A run that is to begin asks for a slot of each of its
-- counters, in order: it gets the slot, or joins the counter's line. A slot belongs to a run, not to its worker, and is given
-- back by the script that ends the run: it has no expiry, and nothing renews it. What waits is in no queue.
--
-- The field `limits` says how far a run has got: "<held>/<asked>/<number>/<counters>", with a line break behind each
-- counter. It is `UNKNOWN_COUNTERS` until the worker that has claimed a run has found out what its counters are.

local MAX_PROMOTED = 200
-- How long a slot that is free waits for the worker of a newer version that can give it to the first in the line.
local NEWER_PROMOTES_MS = 1000

local function limit_of(counter)
  return string.match(counter, '^[^' .. LAYOUT.key_separator .. ']+')
end

-- The timer that looks at the lines of a limit whose numbers have changed.
local function changed_limit_member(name, cursor)
  return TIMER.changed_limit .. cjson.encode({ name, cursor })
end

-- Whether a run holds a slot of each of its counters.
local function is_admitted(limits)
  local held, number = string.match(limits, '^(%d+)/%d+/(%d+)/')
  return held == number
end

local function read_gates(limits)
  local held, asked, _, list = string.match(limits, '^(%d+)/(%d+)/(%d+)/(.*)$')
  local counters = {}
  for counter in string.gmatch(list, '[^\n]+') do
    counters[#counters + 1] = counter
  end
  return { held = tonumber(held), asked = tonumber(asked), counters = counters, list = list }
end

local function write_gates(gates)
  return string.format('%d/%d/%d/', gates.held, gates.asked, #gates.counters) .. gates.list
end

-- Gates that nobody has asked at, of counters and the numbers of their limits: "<counter>\n<numbers>\n...". The numbers
-- count where no worker has declared the limit yet.
local function new_gates(limits)
  local counters, list = {}, ''
  for counter, numbers in string.gmatch(limits, '([^\n]+)\n([^\n]+)\n') do
    redis.call('HSETNX', KEY.limits, LIMIT_FIELD.declared .. limit_of(counter), numbers)
    counters[#counters + 1], list = counter, list .. counter .. '\n'
  end
  return { held = 0, asked = 0, counters = counters, list = list }
end

-- The numbers of a counter, nil where it has none: how many at a time, and the rate. An operator's numbers take precedence
-- over declared ones, and those of a counter over those of its limit.
local function numbers_of(counter)
  local name, concurrency, rate = limit_of(counter), nil, nil
  local found = redis.call('HMGET', KEY.limits, LIMIT_FIELD.override .. counter, LIMIT_FIELD.override .. name,
    LIMIT_FIELD.declared .. name)
  for i = 1, 3 do
    if found[i] then
      local many, often = string.match(found[i], '^(%d*),(.*)$')
      concurrency = concurrency or tonumber(many)
      rate = rate or (often ~= '' and often or nil)
    end
  end
  return concurrency, rate
end

-- Forgets counters that are as if unused, so that their number does not grow with that of the keys.
local function forget_rates(most)
  for _, counter in ipairs(redis.call('ZRANGEBYSCORE', KEY.rates, '-inf', now(), 'LIMIT', 0, most)) do
    redis.call('ZREM', KEY.rates, counter)
  end
end

-- Counts a beginning against a rate: the generic cell rate algorithm. Returns nil if it may begin, else when the next may.
local function spend(counter, rate)
  local count, period, burst = string.match(rate, '^(%d+)/(%d+)/(%d+)$')
  local interval = period / count
  local unused_at = math.max(tonumber(redis.call('ZSCORE', KEY.rates, counter) or 0), now())
  if unused_at - (burst - 1) * interval > now() then
    return math.ceil(unused_at - (burst - 1) * interval)
  end
  forget_rates(2)
  redis.call('ZADD', KEY.rates, unused_at + interval, counter)
end

-- Gives a slot to a member if one is free. Returns whether it did, and else when the rate allows the next, if it is the rate
-- that does not allow it.
local function take_slot(counter, member)
  local concurrency, rate = numbers_of(counter)
  local held = redis.call('ZCARD', KEY.slots(counter))
  if concurrency and held >= concurrency then
    return false
  end
  local at = rate and spend(counter, rate)
  if at then
    return false, at
  elseif held == 0 then
    redis.call('SADD', KEY.counters, counter)
  end
  redis.call('ZADD', KEY.slots(counter), now(), member)
  return true
end

-- Asks for a slot. Returns whether the member has it; else it is in the line.
local function ask(counter, member)
  local taken, at = false, nil
  if redis.call('EXISTS', KEY.line(counter)) == 0 then
    taken, at = take_slot(counter, member)
  end
  if not taken then
    redis.call('SADD', KEY.counters, counter)
    redis.call('ZADD', KEY.line(counter), 'NX', redis.call('HINCRBY', KEY.limits, LIMIT_FIELD.arrivals, 1), member)
  end
  if at then
    set_timer(TIMER.limit .. counter, at)
  end
  return taken
end

-- Asks for the slots that are missing, in order. Returns whether it has all.
local function pass(gates, member)
  while gates.held < #gates.counters do
    gates.asked = gates.held + 1
    if not ask(gates.counters[gates.asked], member) then
      return false
    end
    gates.held = gates.asked
  end
  return true
end

-- Queues a run that nobody holds as soon as it has its slots. More fields and values to write may follow.
local function admit(id, x, gates, ...)
  local is_in = pass(gates, execution_member(id))
  x.limits = write_gates(gates)
  redis.call('HSET', KEY.execution(id), FIELD.limits, x.limits, ...)
  if is_in then
    enqueue(id, x)
  end
end

-- The same for one that may be in a line: then it stays there.
local function ask_again(id, x)
  local gates = read_gates(x.limits)
  if gates.asked == gates.held then
    admit(id, x, gates)
  end
end

-- Whether a member is a run, and not of a kind that only a newer version knows.
local function is_run(member)
  return string.sub(member, 1, 1) == TIMER.execution
end

-- A member of a line has got the slot. Returns true unless it has no use for it.
local function grant(counter, member)
  local id = string.sub(member, 2)
  local x = read_execution(id)
  local gates = x.limits ~= '' and read_gates(x.limits)
  if is_live(x.status) and gates and gates.asked > gates.held and gates.counters[gates.asked] == counter then
    gates.held = gates.asked
    admit(id, x, gates)
    return true
  end
end

-- Gives the free slots of a counter to the first in its line, at most to so many. Returns to how many.
local function promote(counter, most)
  for promoted = 0, most do
    local member = redis.call('ZRANGE', KEY.line(counter), 0, 0)[1]
    if not member then
      return promoted
    elseif promoted == most then
      set_timer(TIMER.limit .. counter, now())
      return promoted
    elseif not is_run(member) then
      set_timer(TIMER.limit .. counter, now() + NEWER_PROMOTES_MS)
      return promoted
    end
    local taken, at = take_slot(counter, member)
    if at then
      set_timer(TIMER.limit .. counter, at)
    end
    if not taken then
      return promoted
    end
    redis.call('ZREM', KEY.line(counter), member)
    local granted
    local why = failure_of(function()
      granted = grant(counter, member)
    end)
    if why or not granted then
      redis.call('ZREM', KEY.slots(counter), member)
    end
  end
end

local function forget_if_unused(counter)
  if redis.call('EXISTS', KEY.slots(counter), KEY.line(counter)) == 0 then
    redis.call('SREM', KEY.counters, counter)
  end
end

-- Gives back the slots of a run, and its place in a line.
local function leave_limits(id, x)
  local gates = read_gates(x.limits)
  local held, asked = gates.held, gates.asked
  gates.held, gates.asked = 0, 0
  x.limits = write_gates(gates)
  redis.call('HSET', KEY.execution(id), FIELD.limits, x.limits)
  for i = 1, asked do
    local counter = gates.counters[i]
    if i <= held then
      redis.call('ZREM', KEY.slots(counter), execution_member(id))
      promote(counter, MAX_PROMOTED)
    else
      redis.call('ZREM', KEY.line(counter), execution_member(id))
    end
    forget_if_unused(counter)
  end
end
