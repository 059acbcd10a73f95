-- start: nothing, or a finished run -> scheduled. A run that has not begun may be replaced.
--
-- takes: id, task, queue, input, delay, timeout, nonce, triggered_by, limits, options...
--   delay, timeout: ms; '' for none
--   limits: the counters that it begins under, each with the numbers of its limit, see new_gates; '' for none
--   options: pairs (name, value), see `StartOption`
-- returns: {'started', run} | {'kept', run} if the id is used and options say so | {'exists', status} if it is, and they
--   do not | {'needs', features}
-- emits: a stream entry, or a timer if it is delayed
-- repeat: nonce — the nonce of the run returns its number again
-- confirm: yes — the caller relies on it
-- memory: reject
local id, task, queue, input, delay, timeout, nonce, triggered_by, limits = unpack(ARGV, 2, 10)
local options = {}
for i = 11, #ARGV, 2 do
  options[ARGV[i]] = ARGV[i + 1]
end
local status, run, last_nonce, needs, started = unpack(redis.call('HMGET', KEY.execution(id), FIELD.status, FIELD.run,
  FIELD.nonce, FIELD.needs, FIELD.started))

-- What is to become of an id that is used: the reply, or nil if a run begins.
local function refusal()
  local choice = options[is_live(status) and START_OPTION.if_live or START_OPTION.if_finished]
  if choice == IF_USED.keep then
    return { 'kept', run }
  elseif is_live(status) and not (choice == IF_USED.replace and status == STATUS.scheduled and not started) then
    return { 'exists', status }
  elseif choice == IF_USED.refuse then
    return { 'exists', status }
  elseif is_beyond_us(needs) then
    return { 'needs', needs }
  end
end

-- The delay, which ends at most so long after the first start.
local function shortened(first)
  local most = options[START_OPTION.max_delay]
  if delay == '' or not most then
    return delay
  end
  local left = math.min(tonumber(delay), first + tonumber(most) - now())
  return left > 0 and string.format('%d', left) or ''
end

local number, fence, created, before, completions
if not status then
  number, fence, created = next_run(id, false)
elseif last_nonce == nonce then
  return { 'started', run }
else
  local refused = refusal()
  if refused then
    return refused
  elseif is_live(status) then
    local x = read_execution(id)
    withdraw_run(id, x)
    completions = redis.call('HGET', KEY.execution(id), FIELD.completions) -- events that came before
    number, fence, created = run, x.fence, tonumber(x.created)
    before = remove_present_run(id)
  else
    number, fence, created, before = next_run(id, run)
  end
end
delay = shortened(created or now())
local x = begin_run(id, { number = number, fence = fence, task = task, queue = queue, input = input, nonce = nonce,
  trigger = '', triggered_by = triggered_by, delay = delay, timeout = timeout, created = created,
  before = before, limits = limits ~= '' and limits or nil, tags = options[START_OPTION.tags],
  scheduled_for = options[START_OPTION.scheduled_for] })
if completions then
  redis.call('HSET', KEY.execution(id), FIELD.completions, completions)
end
local expires = options[START_OPTION.expires]
if expires then
  set_expiry(id, string.match(expires, '^(.*),(%d+)$'))
end
if delay ~= '' or timeout ~= '' or expires then
  reschedule_timer(id, x)
end
return { 'started', number }
