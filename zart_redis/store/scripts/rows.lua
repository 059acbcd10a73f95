--@include base
-- rows: what is stored of one run, read at one moment.
--
-- ARGV    id, run
-- answer  {events (flat), body, on_failure body}, of which the latter are
--         {records (flat), scheduled steps that have not ended (name, {failed attempts, why put off}), log}
local id, run = ARGV[2], ARGV[3]

local function rows(scope)
  local suffix = id .. ':' .. scope
  local children = {}
  local packed = redis.call('HGETALL', P .. 'c:' .. suffix)
  for i = 1, #packed, 2 do
    local c = cmsgpack.unpack(packed[i + 1])
    children[i], children[i + 1] = packed[i], { c[4], c[9] or '' }
  end
  return { redis.call('HGETALL', P .. 'r:' .. suffix), children, redis.call('LRANGE', P .. 'a:' .. suffix, 0, -1) }
end

return { redis.call('HGETALL', P .. 'e:' .. id .. ':' .. run), rows(run), rows(run .. 'f') }
