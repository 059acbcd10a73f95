-- read_stream: the items of a stream from a cursor on, at most `limit` or about 1 MiB of them.
--
-- takes: id, stream, cursor, limit
--   cursor: the id of an item, which is returned too if it is kept; '' to begin with the first one kept
-- returns: {status of the execution, '1' if there are more items, items...} | false
-- emits: nothing
-- repeat: read — nothing is written
-- confirm: no — nothing is written
-- memory: none
local id, stream, cursor, limit = unpack(ARGV, 2)
local MOST_BYTES = 1048576
local status = redis.call('HGET', KEY.execution(id), FIELD.status)
if not status then
  return false
end
local number = redis.call('HGET', KEY.streams(id), stream)
local found = number and redis.call('XRANGE', KEY.stream(id, number), cursor == '' and '-' or cursor, '+', 'COUNT', limit) or {}
local reply, bytes = { status, #found == tonumber(limit) and '1' or '' }, 0
for i, item in ipairs(found) do
  for _, value in ipairs(item[2]) do
    bytes = bytes + #value
  end
  if bytes > MOST_BYTES and i > 2 then -- the first one may be that of the cursor
    reply[2] = '1'
    break
  end
  reply[#reply + 1] = item
end
return reply
