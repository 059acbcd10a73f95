-- continue_as_new: running -> scheduled, in a new run with an empty history. The scheduled steps of the old run have ended.
--
-- takes: id, fence, scope, ack, input, timeout, limits, received...
--   input: of the new run
--   timeout: ms; '' for none
--   limits: as for `start`, of the new run; '' for none
--   received: names of the events that the body has received; the others become events of the new run
-- returns: 'continued' | 'fenced'
-- emits: a stream entry; a stream entry for what gets its slots
-- repeat: fenced — the new run has another fence
-- confirm: yes — it is the end of the work
-- memory: allow
local id, fence, scope, ack, input, timeout, limits = unpack(ARGV, 2, 8)
local x = read_execution(id)
if not is_held_by(id, x, fence, scope, ack) then
  return 'fenced'
end
local MAX_CONTINUED_RUNS = 10
local old = read_fields(id, { FIELD.task, FIELD.nonce, FIELD.reply, FIELD.continued_runs })
local number = tonumber(x.run) + 1

-- Returns how many events the new run has. They keep their order, and are numbered from 1 again: a chain of runs has no end, but
-- numbers have.
local function move_events()
  local received, moved = {}, {}
  for i = 9, #ARGV do
    received[ARGV[i]] = true
  end
  local events = redis.call('HGETALL', KEY.events(id, x.run))
  for i = 1, #events, 2 do
    if not received[events[i]] then
      moved[#moved + 1] = { events[i], events[i + 1] }
    end
  end
  table.sort(moved, function(one, other)
    return event_number(one[2]) < event_number(other[2])
  end)
  for i, event in ipairs(moved) do
    redis.call('HDEL', KEY.events(id, x.run), event[1])
    redis.call('HSET', KEY.events(id, number), event[1], with_number(event[2], i))
  end
  return #moved
end

-- Adds the old run to those that are kept. Deletes the oldest of them if there are too many.
local function keep_run()
  local kept = old.continued_runs .. x.run .. ','
  local _, count = string.gsub(kept, ',', '')
  if count > MAX_CONTINUED_RUNS then
    local oldest = string.match(kept, '^%d+')
    delete_earlier_run(id, oldest)
    kept = string.sub(kept, #oldest + 2)
  end
  redis.call('HSET', KEY.execution(id), FIELD.continued_runs, kept)
end

local events = move_events()
if redis.call('EXISTS', KEY.steps(id, x.scope)) == 1 then
  drop_steps(id, x) -- children that outlive the run
end
detach(id, x, next_fence(x.fence, ''), FIELD.finished, now())
clear_waits(id, x)
if x.limits ~= '' then
  leave_limits(id, x)
end
set_status(id, x, STATUS.completed)
local before = archive(id)
keep_run()
-- A command that began or resumed the old run, and is sent again, finds its nonce.
x = begin_run(id, { number = number, fence = x.fence, task = old.task, queue = x.queue, input = input, nonce = old.nonce,
  trigger = TRIGGER.continue_as_new, triggered_by = '', delay = '', timeout = timeout,
  before = before, tags = before.tags, parent = before.parent, limits = limits ~= '' and limits or nil })
redis.call('HSET', KEY.execution(id), FIELD.completions, events)
if old.reply ~= '' then
  redis.call('HSET', KEY.execution(id), FIELD.reply, old.reply)
end
if timeout ~= '' then
  reschedule_timer(id, x)
end
return 'continued'
