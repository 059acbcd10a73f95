--@include base
-- describe: one execution as it stands, read at one moment.
--
-- ARGV    id
-- answer  {x (flat), waits (flat), some of the scheduled steps it waits for}, or false
local id = ARGV[2]
local x = redis.call('HGETALL', P .. 'x:' .. id)
if #x == 0 then
  return false
end
local awaited = redis.call('HSCAN', P .. 'g:' .. id, '0', 'MATCH', '=*', 'COUNT', 20)[2]
return { x, redis.call('HGETALL', P .. 'w:' .. id), awaited }
