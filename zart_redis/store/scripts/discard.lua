--@include base
-- discard: removes keys that belong to no run of any execution. Each is looked at again first.
--
-- ARGV    triples (key without the prefix, id, run or '' if the key is of no certain run)
-- answer  how many went
local gone = 0
for i = 2, #ARGV, 3 do
  local run = redis.pcall('HGET', P .. 'x:' .. ARGV[i + 1], 'run')
  local last = type(run) == 'table' and math.huge or tonumber(run or 0)
  if not run or (ARGV[i + 2] ~= '' and last and last < (tonumber(ARGV[i + 2]) or math.huge)) then
    gone = gone + redis.call('UNLINK', P .. ARGV[i])
  end
end
return gone
