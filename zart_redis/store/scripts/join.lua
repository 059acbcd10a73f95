--@include base insist fence
-- join: of a group of scheduled steps, counts those that have not ended; the last one to end wakes the body.
--
-- ARGV    id, fence, scope, last, group, names
-- answer  'ok' | 'fenced'
--
-- g:<id> holds name -> the groups that wait for it ("1,4,") and "#<group>" -> how many are missing.
local id, fence, scope, last, group = unpack(ARGV, 2, 6)
if not holds(id, fence, scope, last) then
  return 'fenced'
end
local key = P .. 'g:' .. id
for i = 7, #ARGV do
  if redis.call('HEXISTS', P .. 'c:' .. id .. ':' .. scope, ARGV[i]) == 1 then
    local groups = redis.call('HGET', key, '=' .. ARGV[i]) or ','
    if not string.find(groups, ',' .. group .. ',', 1, true) then
      redis.call('HSET', key, '=' .. ARGV[i], groups .. group .. ',')
      redis.call('HINCRBY', key, '#' .. group, 1)
    end
  end
end
return 'ok'
