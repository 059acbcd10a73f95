-- heartbeat: renews a worker's lease, and reports whose leases have ended.
--
-- takes: worker, lease, joining, info
--   joining: '1' to join, 'again' after its lease had ended; otherwise a worker whose lease has ended is reported so
--   info: JSON for operators; '' if its pool sends this for a worker that cannot
-- returns: {'alive' | 'lost', ms until the next other lease ends or '', workers whose lease has ended}; 'lost' also if the
--   namespace was upgraded to another major version of the layout: then the worker cannot join
-- emits: nothing
-- repeat: same — it renews the lease again
-- confirm: no — the next one follows soon
-- memory: allow
local worker, lease, joining, info = unpack(ARGV, 2)
lease = tonumber(lease)

-- While nobody is heard, Redis or the network is away, or its clock has jumped, and no lease runs out: a gap of more than
-- half the shortest lease is added to those that had not ended before.
local function add_gap(last, shortest)
  local gap = now() - last
  local added = gap < 0 and gap or gap - shortest / 2
  if gap >= 0 and added <= 0 then
    return
  end
  local leases = redis.call('ZRANGEBYSCORE', KEY.workers, '(' .. string.format('%d', last), '+inf', 'WITHSCORES')
  for i = 1, #leases, 2 do
    redis.call('ZADD', KEY.workers, string.format('%d', tonumber(leases[i + 1]) + added), leases[i])
  end
end

local heard = redis.call('HMGET', KEY.heartbeats, HEARTBEAT.at, HEARTBEAT.shortest, HEARTBEAT.shortest_at)
local last, shortest, shortest_at = tonumber(heard[1]), tonumber(heard[2]), tonumber(heard[3])
if last and shortest then
  add_gap(last, shortest)
end
if not shortest_at or lease <= shortest or now() - shortest_at > 4 * shortest then
  shortest, shortest_at = lease, now() -- nobody with a shorter one has been heard for long
end
redis.call('HSET', KEY.heartbeats, HEARTBEAT.at, now(), HEARTBEAT.shortest, shortest, HEARTBEAT.shortest_at, shortest_at)

local state = 'lost'
local layout = redis.call('HGET', KEY.meta, META.layout)
local is_supported = not layout or string.match(layout, '^%d+') == string.match(LAYOUT.version, '^%d+')
-- One that has left, or that its pool has found dead, is not revived by a heartbeat that was under way.
local ends = tonumber(redis.call('ZSCORE', KEY.workers, worker) or 0)
if is_supported and (joining ~= '0' or ends > 0) then
  state = 'alive'
  redis.call('ZADD', KEY.workers, now() + lease, worker)
  if info ~= '' then
    redis.call('HSET', KEY.worker_info, worker, info)
  end
  if joining == 'again' then
    keep_for_a_day(KEY.rejoined, worker)
  end
end
local dead = redis.call('ZRANGEBYSCORE', KEY.workers, '-inf', now(), 'LIMIT', 0, 16)
local following = redis.call('ZRANGEBYSCORE', KEY.workers, '(' .. now(), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return { state, following[2] and tostring(tonumber(following[2]) - now()) or '', dead }
