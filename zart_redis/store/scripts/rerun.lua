--@include base admit stream timers fence execution child event run glob
-- rerun: any state -> scheduled, in a new run that begins with the recorded successes which are not to run again.
--
-- ARGV    id, timeout ms ('' none), nonce, by ('' nobody said), '1' if what no pattern matches runs again,
--         number of patterns of what runs again, these, the patterns of what is preserved (see glob)
-- answer  {'rerun', run, names that run again, names preserved, names preserved that were recorded after one that
--         runs again} | 'missing' | {'conflict', name}   patterns of both kinds match a name; nothing was changed
-- emits   a stream entry; a message to those who wait for the old run, and to the worker that holds it
--
-- Failures, waits that timed out and whatever is not final run again, whatever the patterns say.
local id, timeout, nonce, by, rest = unpack(ARGV, 2, 6)
local count = tonumber(ARGV[7])
local x = read_execution(id)
if x.status == '' then
  return 'missing'
end
local old = redis.call('HMGET', P .. 'x:' .. id, 'task', 'input', 'nonce', 'answer')
if old[3] == nonce then
  return cmsgpack.unpack(old[4])
end

local function matches(name, first, last)
  for i = first, last do
    if glob(ARGV[i], name) then
      return true
    end
  end
  return false
end

local rerun, preserved, stale = {}, {}, {}
local kept, stamps, earliest = {}, {}, nil
local events = P .. 'e:' .. id .. ':' .. x.run
local records = redis.call('HGETALL', P .. 'r:' .. id .. ':' .. x.run)
for i = 1, #records, 2 do
  local name, record = records[i], records[i + 1]
  local letter, at = string.sub(record, 1, 1), nil
  local event = letter == 'w' and redis.call('HGET', events, name)
  event = event and in_time(event, record) and event
  if event then
    at = event_time(event)
  elseif letter == 'v' or letter == 'c' or letter == 'S' or letter == 'b' or letter == 'z' or letter == 'T' then
    at = struct.unpack('>I6', record, #record - 5)
  end
  local again = matches(name, 8, 7 + count)
  local keep = matches(name, 8 + count, #ARGV)
  if again and keep then
    return { 'conflict', name }
  end
  local success = event or letter == 'v' or letter == 'c' or letter == 'S'
  if success and (keep or (not again and rest ~= '1')) then
    preserved[#preserved + 1] = name
    kept[name], stamps[name] = { record, event }, at
  else
    rerun[#rerun + 1] = name
    if at and (not earliest or at < earliest) then
      earliest = at
    end
  end
end
for _, name in ipairs(preserved) do
  if earliest and stamps[name] > earliest then
    stale[#stale + 1] = name
  end
end

if is_live(x.status) then
  break_off(id, x)
end
archive(id)
local number = tonumber(x.run) + 1
for name, pair in pairs(kept) do
  redis.call('HSET', P .. 'r:' .. id .. ':' .. number, name, pair[1])
  if pair[2] then
    redis.call('HSET', P .. 'e:' .. id .. ':' .. number, name, pair[2])
  end
end
begin_run(id, { number = number, fence = next_epoch(x.fence) .. '@', task = old[1], queue = x.queue, input = old[2],
  nonce = nonce, trigger = 'rerun', by = by, delay = '', timeout = timeout })
local answer = { 'rerun', number, rerun, preserved, stale }
redis.call('HSET', P .. 'x:' .. id, 'answer', cmsgpack.pack(answer))
return answer
