--@include base admit
-- pause: adds a rule, or replaces it. Workers are told, and hold what it matches where the next step would begin.
--
-- ARGV    rule, json of {execution, task, step (a pattern), extend, created}
-- answer  'paused'
redis.call('HSET', P .. 'rules', ARGV[2], ARGV[3])
redis.call('PUBLISH', P .. 'rules', ARGV[2])
return 'paused'
