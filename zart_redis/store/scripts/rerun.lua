-- rerun: any state -> scheduled, in a new run that begins with those recorded successes that are not to run again.
--
-- takes: id, timeout, nonce, triggered_by, rest, count, patterns...
--   timeout: ms; '' for none
--   rest: '1' if what no pattern matches runs again
--   patterns: `count` patterns of what runs again, then those of what is preserved, see glob
-- returns: {'rerun', run, names that run again, names preserved, names preserved that were recorded after one that runs
--   again} | 'missing' | {'conflict', name} if patterns of both kinds match a name | {'needs', features}
-- emits: a stream entry; the final status to those who wait for the old run; a revoke to the worker that holds it;
--   a stream entry for what gets its slots
-- repeat: nonce — the reply is kept, and returned again
-- confirm: yes — the caller relies on it
-- memory: reject
--
-- Failures, waits that timed out and whatever is not final run again, whatever the patterns say.
local id, timeout, nonce, triggered_by, rest, count = unpack(ARGV, 2, 7)
count = tonumber(count)
local x = read_execution(id)
if x.status == '' then
  return 'missing'
end
local old = read_fields(id, { FIELD.task, FIELD.input, FIELD.nonce, FIELD.reply, FIELD.completions, FIELD.version, FIELD.started })
if old.nonce == nonce then
  return cmsgpack.unpack(old.reply)
elseif is_beyond_us(x.needs) then
  return { 'needs', x.needs }
end

local function matches(name, first, last)
  for i = first, last do
    if glob(ARGV[i], name) then
      return true
    end
  end
  return false
end

local function read_map(key)
  local map, flat = {}, redis.call('HGETALL', key)
  for i = 1, #flat, 2 do
    map[flat[i]] = flat[i + 1]
  end
  return map
end

local again, preserved, stale = {}, {}, {}
local kept, times, earliest = {}, {}, nil
local records, events = read_map(KEY.records(id, x.run)), read_map(KEY.events(id, x.run))
for name in pairs(events) do
  records[name] = records[name] or RECORD.wait -- it came before the body waited for it
end
for name, record in pairs(records) do
  local event, at = kind_of(record) == RECORD.wait and events[name], nil
  if event then
    at = delivered_at(event)
  elseif is_success(record) or is_failure(record) then
    at = stamped_at(record)
  end
  local is_chosen, is_kept = matches(name, 8, 7 + count), matches(name, 8 + count, #ARGV)
  if is_chosen and is_kept then
    return { 'conflict', name }
  end
  if (event or is_success(record)) and (is_kept or (not is_chosen and rest ~= '1')) then
    preserved[#preserved + 1] = name
    kept[name], times[name] = { record, event }, at
  elseif kind_of(record) ~= RECORD.fired then -- the clock of the new run starts again, and with it its timers
    again[#again + 1] = name
    if at and (not earliest or at < earliest) then
      earliest = at
    end
  end
end
for _, name in ipairs(preserved) do
  if earliest and times[name] > earliest then
    stale[#stale + 1] = name
  end
end

if is_live(x.status) then
  abort_run(id, x)
end
local before = archive(id)
local number = tonumber(x.run) + 1
for name, pair in pairs(kept) do
  redis.call('HSET', KEY.records(id, number), name, pair[1])
  if pair[2] then
    redis.call('HSET', KEY.events(id, number), name, pair[2])
  end
end
x = begin_run(id, { number = number, fence = next_fence(x.fence, ''), task = old.task, queue = x.queue, input = old.input,
  nonce = nonce, trigger = TRIGGER.rerun, triggered_by = triggered_by, delay = '', timeout = timeout,
  before = before, tags = before.tags, parent = before.parent })
redis.call('HSET', KEY.execution(id), FIELD.completions, old.completions ~= '' and old.completions or 0)
if old.version ~= '' or old.started ~= '' then
  x.task = old.task
  bind_version(id, x, old.version ~= '' and old.version or '1')
end
if timeout ~= '' then
  reschedule_timer(id, x)
end
local reply = { 'rerun', number, again, preserved, stale }
redis.call('HSET', KEY.execution(id), FIELD.reply, cmsgpack.pack(reply))
return reply
