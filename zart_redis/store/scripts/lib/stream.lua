-- Entries of the queues' streams, which one consumer group reads.
--
-- Each queue has four streams: one for new work; one for work that a dead or stopping worker gave back, which is read
-- first because it has waited before; one for suspects, which only quarantine processes read; and one for what a worker
-- takes out of `unserved`. An entry of the latter three is written down with a mark in front: "!<id>", "?<id>" or "><id>".

-- In the order in which the work of a dead worker is reclaimed.
local LANES = { LANE.suspect, LANE.handed, LANE.returned, LANE.new }

local function stream_of(queue, entry)
  local mark = string.sub(entry, 1, 1)
  if mark == LANE.returned then
    return KEY.returned(queue), string.sub(entry, 2)
  elseif mark == LANE.suspect then
    return KEY.suspects(queue), string.sub(entry, 2)
  elseif mark == LANE.handed then
    return KEY.handed(queue), string.sub(entry, 2)
  end
  return KEY.queue(queue), entry
end

local function add_entry(queue, lane, ...)
  local key = stream_of(queue, lane)
  if lane == LANE.suspect then
    redis.call('SADD', KEY.queues, queue) -- so that its dead readers are found
    redis.call('PUBLISH', CHANNEL.suspects, queue)
  end
  return lane .. redis.call('XADD', key, '*', ...)
end

-- The fields of an entry as a flat list, or nil if it is gone.
local function read_entry(queue, entry)
  local key, id = stream_of(queue, entry)
  local found = redis.call('XRANGE', key, id, id)[1]
  return found and found[2]
end

-- Acknowledges and deletes an entry; missing entries, streams and groups are ignored.
local function ack_and_delete(queue, entry)
  if entry and entry ~= '' then
    local key, id = stream_of(queue, entry)
    redis.pcall('XACK', key, LAYOUT.group, id)
    redis.pcall('XDEL', key, id)
  end
end
