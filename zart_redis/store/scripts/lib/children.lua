-- Children: executions that a body has started and waits for, each in the place of a scheduled step. The field `parent` of a
-- child names the call that waits for it, and the start, so that what belongs to another start is recognised.

local PARENT_PARTS = { 'partition', 'id', 'in_scope', 'name', 'start' }

-- The parts of the field `parent`; the partition is '' if it is this one.
local function parse_parent(text)
  local parts, at = {}, 1
  for part in string.gmatch(text .. LAYOUT.key_separator, '([^' .. LAYOUT.key_separator .. ']*)' .. LAYOUT.key_separator) do
    parts[PARENT_PARTS[at] or at], at = part, at + 1
  end
  return parts
end

-- What must reach another partition, or many executions, and so another script: workers deliver it. `MailField` names its
-- parts.
local function add_mail(mail)
  local number = redis.call('HINCRBY', KEY.mail, '', 1)
  redis.call('HSET', KEY.mail, number, cmsgpack.pack(mail))
  set_timer(TIMER.mail .. number, now())
end

-- Whether a body that has returned waits for nothing. Children that outlive it then lose their place.
local function is_done_with_steps(id, x)
  local left = redis.call('HLEN', KEY.steps(id, x.scope))
  if left > 0 and left == tonumber(redis.call('HGET', KEY.execution(id), FIELD.outliving) or 0) then
    drop_steps(id, x)
    return true
  end
  return left == 0
end

-- The step is gone from those that have not ended.
local function forget_step(id, scope, name, step)
  redis.call('HDEL', KEY.steps(id, scope), name)
  if step.outlives then
    redis.call('HINCRBY', KEY.execution(id), FIELD.outliving, -1)
  end
end

-- Records how a child has ended, unless its parent has moved on.
local function settle_child(parent, record)
  local to = parse_parent(parent)
  local step, x = read_step(to.id, to.in_scope, to.name), read_execution(to.id)
  if not step or step.parent ~= parent or x.scope ~= to.in_scope or not is_live(x.status) then
    return
  end
  catch_up(to.id, x)
  record_step(to.id, x, to.in_scope, to.name, record)
  forget_step(to.id, to.in_scope, to.name, step)
  leave_groups(to.id, x, to.name)
  if x.pending_retention ~= '' and is_done_with_steps(to.id, x) then
    set_timer(execution_member(to.id), now())
  end
end

local function child_record(outcome, child, payload)
  return RECORD.child .. outcome .. child .. LAYOUT.key_separator .. payload
end

local OUTCOMES = { [STATUS.completed] = { CHILD_OUTCOME.completed, FIELD.output },
  [STATUS.failed] = { CHILD_OUTCOME.failed, FIELD.error }, [STATUS.cancelled] = { CHILD_OUTCOME.cancelled, FIELD.reason } }

-- Tells the parent of an execution that this has ended.
local function report_to_parent(id, parent, status)
  local outcome, field = unpack(OUTCOMES[status])
  local record = child_record(outcome, id, redis.call('HGET', KEY.execution(id), field) or '')
  if parse_parent(parent).partition == '' then
    settle_child(parent, record)
  else
    add_mail({ [MAIL.kind] = MAIL_KIND.ended, [MAIL.parent] = parent, [MAIL.child] = id, [MAIL.record] = record })
  end
end

-- The parent does not wait for this child any more: it is cancelled, unless it outlives its parent.
local function give_up_child(step)
  if not step.outlives then
    add_mail({ [MAIL.kind] = MAIL_KIND.cancel, [MAIL.parent] = step.parent, [MAIL.child] = step.child })
  end
end

-- Begins a run as the child of another execution. Returns the status of an execution that has this id, and that the same
-- parent has not made.
--
-- run: what begin_run takes of a new run, and `deadline`, when it ends at the latest, or ''
local function start_child(id, parent, run)
  local x = read_execution(id)
  if x.parent == parent then
    return -- this start has been made
  elseif redis.call('ZSCORE', KEY.cancelled_starts, parent) then
    return
  elseif x.status ~= '' then
    if is_beyond_us(x.needs) or x.parent == '' or parse_parent(x.parent).id ~= parse_parent(parent).id then
      return x.status
    elseif is_live(x.status) then
      abort_run(id, x)
    end
  end
  run.number, run.fence, run.created, run.before = next_run(id, x.status ~= '' and x.run)
  run.trigger, run.triggered_by, run.delay, run.parent = '', '', '', parent
  x = begin_run(id, run)
  if run.deadline ~= '' and (x.deadline == '' or tonumber(run.deadline) < tonumber(x.deadline)) then
    set_deadline(id, x, tonumber(run.deadline))
  end
  if x.deadline ~= '' then
    reschedule_timer(id, x)
  end
end
