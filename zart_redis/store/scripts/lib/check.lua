-- Whether something will bring up what is queued, paused or scheduled.

-- Whether an entry will be delivered: it is in its stream and, while a worker holds it, pending, so that it is reclaimed
-- when the worker dies. If the group is gone, the whole stream is delivered again.
local function is_queued(queue, entry, fence)
  if entry == '' or not read_entry(queue, entry) then
    return false
  elseif not owner_of(fence) then
    return true
  end
  local key, id = stream_of(queue, entry)
  local pending = redis.pcall('XPENDING', key, LAYOUT.group, id, id, 1)
  return pending.err or #pending > 0
end

-- Whether a pause rule holds this and will release it: the rule exists, or its timer is about to release what it held.
local function is_paused_by(rule_id, member)
  return redis.call('ZSCORE', KEY.paused(rule_id), member)
    and (redis.call('HEXISTS', KEY.pause_rules, rule_id) == 1 or redis.call('ZSCORE', KEY.timers, TIMER.resumed .. rule_id))
end

-- Whether a child has ended, and its parent has not learned of it. The doctor does not look into other partitions, and mail is
-- delivered.
local function is_child_lost(id, step, name, repair)
  if parse_parent(step.parent).partition ~= '' then
    return false
  end
  local child = read_execution(step.child)
  if child.parent == step.parent and is_live(child.status) then
    return false
  end
  if repair and child.parent == step.parent then
    report_to_parent(step.child, step.parent, child.status)
  elseif repair then
    settle_child(step.parent, child_record(CHILD_OUTCOME.cancelled, step.child, ''))
  end
  return true
end

-- Whether nothing holds a scheduled step. It is queued again if asked.
local function is_step_lost(id, x, name, repair)
  local step, member = read_step(id, x.scope, name), step_member(id, x.scope, name)
  local queue = step and step.queue or x.queue
  if step and step.child then
    return is_child_lost(id, step, name, repair)
  elseif not step or is_queued(queue, step.entry or '', step.fence) or redis.call('ZSCORE', KEY.timers, member)
    or (step.paused_by and is_paused_by(step.paused_by, member))
    or (step.unserved and is_unserved(step.unserved, member)) then
    return false
  end
  if repair then
    if step.paused_by then
      redis.call('ZREM', KEY.paused(step.paused_by), member)
    end
    detach_step(queue, step, next_fence(step.fence, ''))
    step.entry, step.paused_by, step.unserved = enqueue_step(queue, id, x.scope, name, step.blame), nil, nil
    write_step(id, x.scope, name, step)
  end
  return true
end

-- A counter in words.
local function shown(counter)
  return (string.gsub(counter, LAYOUT.key_separator, ' '))
end

-- Whether a run has its place in the line of a limit.
local function is_in_line(id, x)
  if x.limits == '' then
    return false
  end
  local gates = read_gates(x.limits)
  return gates.asked > gates.held and redis.call('ZSCORE', KEY.line(gates.counters[gates.asked]), execution_member(id))
end
