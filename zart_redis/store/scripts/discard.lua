--@include base
-- discard: finds keys that belong to no run of any execution, and removes them if asked. What has gone since it was
-- listed, with its execution, is none of them.
--
-- ARGV    '1' to remove them, then triples (key without the prefix, id, run or '' if the key is of no certain run)
-- answer  such keys
local remove, found = ARGV[2] == '1', {}
for i = 3, #ARGV, 3 do
  local key = P .. ARGV[i]
  local run = redis.pcall('HGET', P .. 'x:' .. ARGV[i + 1], 'run')
  local last = type(run) == 'table' and math.huge or tonumber(run or 0)
  local is_ownerless = not run or (ARGV[i + 2] ~= '' and last and last < (tonumber(ARGV[i + 2]) or math.huge))
  if is_ownerless and redis.call('EXISTS', key) == 1 then
    found[#found + 1] = ARGV[i]
    if remove then
      redis.call('UNLINK', key)
    end
  end
end
return found
