-- leave: ends a worker's lease, so that what it still holds can be reclaimed at once.
--
-- takes: worker
-- returns: 'left'
-- emits: nothing
-- repeat: same — the lease has ended
-- confirm: no — a lost one only delays the recovery until the lease ends by itself
-- memory: allow
local worker = unpack(ARGV, 2)
redis.call('ZADD', KEY.workers, 0, worker)
return 'left'
