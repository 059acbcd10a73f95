-- read_held: what is held because it needs other code, in batches.
--
-- takes: cursor, limit
--   cursor: '0' to begin with
-- returns: {next cursor ('0' at the end), then triples (id, since when in ms, reason)}
-- emits: nothing
-- repeat: read — nothing is written
-- confirm: no — nothing is written
-- memory: none
local cursor, limit = unpack(ARGV, 2)
local scanned = redis.call('HSCAN', KEY.held, cursor, 'COUNT', limit)
local found = { scanned[1] }

local function add(id, since, reason)
  found[#found + 1], found[#found + 2], found[#found + 3] = id, since or 0, reason
end

local function read_body(member)
  local id = string.sub(member, 2)
  local x = read_execution(id)
  if is_body_held(id, x) then
    add(id, tonumber(redis.call('HGET', KEY.execution(id), FIELD.held_since)), x.held)
  end
end

local function read_step_of(member)
  local step, id = read_held_step(member)
  if step then
    add(id, step.held_since, step.unrunnable)
  end
end

for i = 1, #scanned[2], 2 do
  local member = scanned[2][i]
  failure_of(string.sub(member, 1, 1) == TIMER.execution and read_body or read_step_of, member)
end
return found
