--@include base insist
-- heartbeat: this worker is alive for another lease; who is not?
--
-- ARGV    worker, lease ms, '1' to join (else a worker that was given up is told so), json about it for operators
-- answer  {'alive' | 'lost', ms until the next worker's lease ends, workers whose lease has ended}
local worker, lease, joining, about = unpack(ARGV, 2)
local key = P .. 'workers'
local state = 'lost'
if joining == '1' or redis.call('ZSCORE', key, worker) then
  state = 'alive'
  redis.call('ZADD', key, now() + tonumber(lease), worker)
  redis.call('HSET', P .. 'about', worker, about)
end
local dead = redis.call('ZRANGEBYSCORE', key, '-inf', now(), 'LIMIT', 0, 16)
local following = redis.call('ZRANGEBYSCORE', key, '(' .. now(), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return { state, following[2] and tostring(tonumber(following[2]) - now()) or '', dead }
