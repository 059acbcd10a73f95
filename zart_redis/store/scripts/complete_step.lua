-- complete_step: the final results of scheduled steps. The last step that a group waits for wakes the body; the last one
-- of a body that has returned completes the execution.
--
-- takes: items...
--   items: of seven each: id, fence, scope, queue, entry, name, record
-- returns: for each item 'completed' | 'fenced' | 'again' if something else of that execution must be completed first
-- emits: the body's stream entry, or the final status to those who wait for the execution;
--   a stream entry for what gets its slots
-- repeat: fenced — the step is gone
-- confirm: yes — the body builds on it
-- memory: allow
-- records: a result
-- batch: items
local ITEM_SIZE = 7
local last_id, last_execution

-- The steps of one body follow each other: its execution is read once.
local function execution_of(id)
  if last_id ~= id then
    last_execution = read_execution(id)
    last_id = id
  end
  return last_execution
end

local function complete_step(id, fence, scope, queue, entry, name, record)
  local step = read_step(id, scope, name)
  if not step or step.fence ~= fence or step.entry ~= entry then
    return 'fenced'
  end
  local x = execution_of(id)
  last_id = nil -- until this item is done: one that fails may have changed a part
  if x.scope == scope and is_live(x.status) and not catch_up(id, x) then
    return 'again'
  end
  record_step(id, x, scope, name, record)
  detach_step(queue, step, '')
  redis.call('HDEL', KEY.steps(id, scope), name)
  leave_groups(id, x, name)
  if x.pending_retention ~= '' and is_done_with_steps(id, x) then
    complete(id, x, final_status(x), x.pending_retention)
  else
    last_id = id
  end
  return 'completed'
end

return reply_to_items(ITEM_SIZE, complete_step)
