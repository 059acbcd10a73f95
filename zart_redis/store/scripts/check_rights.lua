-- check_rights: calls each command that the scripts use, in a way that changes nothing, to find those that are denied.
--
-- takes: consumer
--   consumer: the name of a consumer that does not exist
-- returns: {a command that the user may not use, why}...
-- emits: a message that nobody listens to
-- repeat: read — nothing is written
-- confirm: no — nothing is written
-- memory: none
local consumer = unpack(ARGV, 2)
local NONE, HELD = KEY.oom_probe, KEY.meta -- no key, and a hash: to any other type of key a write is refused
local calls = {
  { 'TIME' }, { 'TYPE', NONE }, { 'EXISTS', NONE }, { 'GET', NONE }, { 'SET', HELD, '', 'XX', 'NX' }, { 'DEL', NONE },
  { 'UNLINK', NONE }, { 'RENAMENX', NONE, NONE }, { 'PUBLISH', NONE, '' },
  { 'HGET', HELD, '' }, { 'HMGET', HELD, '' }, { 'HGETALL', NONE }, { 'HKEYS', NONE }, { 'HVALS', NONE },
  { 'HLEN', NONE }, { 'HEXISTS', NONE, '' }, { 'HSCAN', NONE, 0 }, { 'HRANDFIELD', NONE }, { 'HSET', HELD, '', '', '' },
  { 'HSETNX', HELD, META.partitions, '' }, { 'HINCRBY', HELD, '', '' }, { 'HDEL', HELD, '' },
  { 'ZADD', HELD, 0, '' }, { 'ZREM', NONE, '' }, { 'ZCARD', NONE }, { 'ZSCORE', NONE, '' }, { 'ZRANK', NONE, '' }, { 'ZRANGE', NONE, 0, 0 },
  { 'ZRANGEBYSCORE', NONE, 0, 0 }, { 'SADD', HELD, '' }, { 'SREM', NONE, '' }, { 'SMEMBERS', NONE },
  { 'SSCAN', NONE, 0 }, { 'ZSCAN', NONE, 0 },
  { 'RPUSH', HELD, '' }, { 'LPUSHX', NONE, '' }, { 'LTRIM', NONE, 0, 0 }, { 'LRANGE', NONE, 0, 0 }, { 'LSET', NONE, 0, '' },
  { 'XADD', HELD, '*', '', '' }, { 'XLEN', NONE }, { 'XDEL', NONE, '0-1' }, { 'XACK', NONE, LAYOUT.group, '0-1' },
  { 'XRANGE', NONE, '-', '+' },
  { 'XPENDING', NONE, LAYOUT.group }, { 'XCLAIM', NONE, LAYOUT.group, LAYOUT.unclaimed, 0, '0-1' },
  { 'XREADGROUP', 'GROUP', LAYOUT.group, consumer, 'STREAMS', NONE, '>' },
  { 'XGROUP', 'CREATE', HELD, LAYOUT.group, 0 }, { 'XGROUP', 'DELCONSUMER', NONE, LAYOUT.group, consumer },
}
local denied = {}
for _, call in ipairs(calls) do
  local reply = redis.pcall(unpack(call))
  local why = type(reply) == 'table' and reply.err
  if why and (string.find(why, 'NOPERM', 1, true) or string.find(why, 'The user executing the script', 1, true)
    or string.find(why, 'ACL failure', 1, true)) then
    denied[#denied + 1] = { call[1], why }
  end
end
return denied
