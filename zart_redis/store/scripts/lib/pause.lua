-- Pause rules: rules maps a rule's id to json of what it holds; held:<rule> says what it holds now.
--
-- A rule has execution, task and step (a pattern, see glob); what is missing matches all. A rule with a step holds the body
-- at that step (see park); a rule without holds it at its claim. "extend" stops the clock of a held deadline.

local function text_or_none(value)
  return value == nil or type(value) == 'string'
end

-- A rule, or false for what is none: it holds nothing.
local function read_rule(rule, text)
  local readable, held = pcall(cjson.decode, text)
  return readable and type(held) == 'table' and string.match(rule, '^%x+$') and type(held.created) == 'number'
    and held.created < 2 ^ 53 and text_or_none(held.execution) and text_or_none(held.task)
    and text_or_none(held.step) and held
end

local rules
local function rule_for(id, task, name)
  if not rules then
    rules = redis.call('HGETALL', P .. 'rules')
    for i = 2, #rules, 2 do
      rules[i] = read_rule(rules[i - 1], rules[i])
    end
  end
  for i = 1, #rules, 2 do
    local rule = rules[i + 1]
    if rule and (not rule.execution or rule.execution == id) and (not rule.task or rule.task == task)
      and (not rule.step or (name and glob(rule.step, name))) then
      return rules[i], rule
    end
  end
end

local function hold_member(rule, member)
  redis.call('ZADD', P .. 'held:' .. rule, now(), member)
end

local function stop_clock(id, x)
  if x.deadline ~= '' then
    redis.call('HSET', P .. 'x:' .. id, 'remaining', tonumber(x.deadline) - now())
    redis.call('HDEL', P .. 'x:' .. id, 'deadline')
    x.deadline = ''
  end
end
