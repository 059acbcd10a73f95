-- resume: removes a pause rule. `due` releases what it holds, in batches.
--
-- takes: rule_id
-- returns: 1 if the rule was there, else 0
-- emits: a timer; a message to all workers
-- repeat: same — the rule is gone; only the reply may differ
-- confirm: yes — the caller relies on it
-- memory: allow
local rule_id = unpack(ARGV, 2)
local removed = redis.call('HDEL', KEY.pause_rules, rule_id)
if removed == 1 then
  set_timer(TIMER.resumed .. rule_id, now())
  redis.call('PUBLISH', CHANNEL.pause_rules, rule_id)
end
return removed
