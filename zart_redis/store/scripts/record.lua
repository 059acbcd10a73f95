--@include base fence
-- record: the result of a step that ran in place, or of a capture. Recorded is final.
--
-- ARGV    id, fence, scope, last, name, record
-- answer  false        recorded
--         the record   one stood there already: it is the result
--         'fenced'
local id, fence, scope, last, name, record = unpack(ARGV, 2)
if not holds(id, fence, scope, last) then
  return 'fenced'
end
local key = P .. 'r:' .. id .. ':' .. scope
local value = record .. stamp()
local is_new = redis.pcall('HSETNX', key, name, value)
if type(is_new) == 'table' then
  -- Redis's memory may be full, and then lets a script write that has begun to: see lib/insist.lua, of which every
  -- other script but this, the one of which there are most, pays the price each time.
  redis.call('DEL', P .. 'void')
  is_new = redis.call('HSETNX', key, name, value)
end
if is_new == 0 then
  local existing = redis.call('HGET', key, name)
  if string.sub(existing, 1, 1) ~= 'a' then
    return existing
  end
  redis.call('HSET', key, name, value)
end
return false
