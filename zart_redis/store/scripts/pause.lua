-- pause: adds a rule, or replaces it. Workers are notified, and hold what it matches where the next step would begin.
--
-- takes: rule_id, description
--   description: JSON, see `RuleField`
-- returns: 'paused'
-- emits: a message to all workers
-- repeat: same — the rule is there
-- confirm: yes — the caller relies on it
-- memory: reject
local rule_id, description = unpack(ARGV, 2)
redis.call('HSET', KEY.pause_rules, rule_id, description)
redis.call('PUBLISH', CHANNEL.pause_rules, rule_id)
return 'paused'
