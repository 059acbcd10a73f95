-- open: fixes the number of partitions of a namespace when it is first used.
--
-- KEYS[1] the prefix of partition 0
-- ARGV    '' (so that all scripts take the clock first), partitions asked for or ''
-- answer  the number of partitions
local key = KEYS[1] .. 'meta'
redis.call('HSETNX', key, 'partitions', ARGV[2] == '' and '1' or ARGV[2])
return tonumber(redis.call('HGET', key, 'partitions'))
