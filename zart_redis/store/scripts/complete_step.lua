-- complete_step: the final result of a scheduled step. The last step that a group waits for wakes the body; the last one
-- of a body that has returned completes the execution.
--
-- takes: id, fence, scope, queue, entry, name, record
-- returns: 'completed' | 'fenced' | 'again'
-- emits: the body's stream entry, or the final status to those who wait for the execution
-- repeat: fenced — the step is gone
-- confirm: yes — the body builds upon it
-- memory: allow
-- records: a result
local id, fence, scope, queue, entry, name, record = unpack(ARGV, 2)
local step = read_step(id, scope, name)
if not step or step.fence ~= fence or step.entry ~= entry then
  return 'fenced'
end
local c_key, g_key = KEY.steps(id, scope), KEY.groups(id)
local x = read_execution(id)
if x.scope == scope and is_live(x.status) and not catch_up(id, x) then
  return 'again'
end
if redis.call('HEXISTS', KEY.records(id, scope), name) == 0 then
  local number = next_number(id)
  redis.call('HSET', KEY.records(id, scope), name, record .. stamp(number))
  announce(id, x, number, NEWS.step, name)
end
detach_step(queue, step, '')
redis.call('HDEL', c_key, name)
local groups = redis.call('HGET', g_key, GROUP_FIELD.step .. name)
if groups then
  redis.call('HDEL', g_key, GROUP_FIELD.step .. name)
  for group in string.gmatch(groups, '%d+') do
    if redis.call('HINCRBY', g_key, GROUP_FIELD.missing .. group, -1) == 0 then
      redis.call('HDEL', g_key, GROUP_FIELD.missing .. group)
      wake(id, x)
    end
  end
end
if x.pending_retention ~= '' and redis.call('HLEN', c_key) == 0 then
  complete(id, x, STATUS.completed, x.pending_retention)
end
return 'completed'
