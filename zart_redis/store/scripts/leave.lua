--@include base insist
-- leave: a worker says that it is gone, so that what it still holds can be reclaimed at once.
--
-- ARGV    worker
-- answer  'left'
redis.call('ZADD', P .. 'workers', 0, ARGV[2])
return 'left'
