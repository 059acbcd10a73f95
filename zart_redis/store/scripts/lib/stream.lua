-- Entries of the queues' streams, which one consumer group reads.
--
-- A queue has two: q:<queue>, and b:<queue> for what was begun and comes back (from a dead worker, or one that stops),
-- which is read first: it has waited before. An entry of the latter is written with a mark, "!<id>".

local GROUP = 'zart'
local BACK = '!'

local function stream_of(queue, entry)
  if string.sub(entry, 1, 1) == BACK then
    return P .. 'b:' .. queue, string.sub(entry, 2)
  end
  return P .. 'q:' .. queue, entry
end

-- `mark` is BACK or ''.
local function add_entry(queue, mark, ...)
  local key = stream_of(queue, mark)
  return mark .. redis.call('XADD', key, '*', ...)
end

local function fields_of(queue, entry)
  local key, id = stream_of(queue, entry)
  local found = redis.call('XRANGE', key, id, id)[1]
  return found and found[2]
end

-- What is no entry at all, or of no stream, is forgotten already.
local function forget_entry(queue, entry)
  if entry and entry ~= '' then
    local key, id = stream_of(queue, entry)
    redis.pcall('XACK', key, GROUP, id)
    redis.pcall('XDEL', key, id)
  end
end
