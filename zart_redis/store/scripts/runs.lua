--@include base
-- runs: every run of an execution, read at one moment.
--
-- ARGV    id
-- answer  a list of x (flat), the earlier ones and then the present one; empty if there is no such execution
local id = ARGV[2]
local runs = {}
for _, packed in ipairs(redis.call('HVALS', P .. 'h:' .. id)) do
  runs[#runs + 1] = cmsgpack.unpack(packed)
end
local x = redis.call('HGETALL', P .. 'x:' .. id)
if #x > 0 then
  runs[#runs + 1] = x
end
return runs
