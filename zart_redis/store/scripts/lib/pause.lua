-- Pause rules. A rule with a step pattern holds a body where it would begin such a step (see park); one without holds it
-- at its claim.

local function is_text_or_nil(value)
  return value == nil or type(value) == 'string'
end

-- A rule as a table; false if it cannot be read, and then it holds nothing.
local function read_rule(id, text)
  local readable, rule = pcall(cjson.decode, text)
  if not (readable and type(rule) == 'table' and string.match(id, '^%x+$')) then
    return false
  end
  local created = rule[RULE.queue] and rule[RULE.since] or rule[RULE.created]
  return type(created) == 'number' and created < 2 ^ 53 and is_text_or_nil(rule[RULE.execution])
    and is_text_or_nil(rule[RULE.task]) and is_text_or_nil(rule[RULE.step]) and is_text_or_nil(rule[RULE.queue]) and rule
end

local all_rules

-- The id and the table of a rule that matches; `name` is that of a step, or nil for a body.
local function find_rule(id, task, name, queue)
  if not all_rules then
    all_rules = redis.call('HGETALL', KEY.pause_rules)
    for i = 2, #all_rules, 2 do
      all_rules[i] = read_rule(all_rules[i - 1], all_rules[i])
    end
  end
  for i = 1, #all_rules, 2 do
    local rule = all_rules[i + 1]
    if rule and (not rule[RULE.execution] or rule[RULE.execution] == id)
      and (not rule[RULE.task] or rule[RULE.task] == task)
      and (not rule[RULE.queue] or rule[RULE.queue] == queue)
      and (not rule[RULE.step] or (name and glob(rule[RULE.step], name))) then
      return all_rules[i], rule
    end
  end
end

local function add_paused(rule_id, member)
  redis.call('ZADD', KEY.paused(rule_id), now(), member)
end

-- Releases an execution from a pause rule and restarts the clock of its deadline.
local function release_from_pause(id, x)
  local left = redis.call('HGET', KEY.execution(id), FIELD.paused_deadline_ms)
  if x.paused_by ~= '' then
    redis.call('ZREM', KEY.paused(x.paused_by), execution_member(id))
    redis.call('HDEL', KEY.execution(id), FIELD.paused_by)
    x.paused_by = ''
  end
  resume_deadline(id, x, left)
end
