-- start_children: starts executions as children of a body, each in the place of a scheduled step. Those already started or
-- recorded are left as they are.
--
-- takes: id, fence, scope, ack, partition, children...
--   partition: the number of this one
--   children: of eleven each: name, child id, '1' if it lives in this partition, '1' if it outlives the parent, what names
--     this start, task, queue, input, timeout or '', limits, tags or ''
-- returns: pairs (name, status) of children whose id is used by another execution | 'fenced'
-- emits: a stream entry for each child of this partition, or a timer; a timer for the others
-- repeat: same — a child that is started or recorded is left as it is
-- confirm: yes — the body builds on it
-- memory: reject
local id, fence, scope, ack, partition = unpack(ARGV, 2, 6)
local SIZE_OF_CHILD = 11
if not owns_claim(id, fence, scope, ack) then
  return 'fenced'
end
local deadline = redis.call('HGET', KEY.execution(id), FIELD.deadline) or ''
local refused = {}

local function start(name, child, is_here, outlives, number, task, queue, input, timeout, limits, tags)
  if redis.call('HEXISTS', KEY.steps(id, scope), name) == 1 or redis.call('HEXISTS', KEY.records(id, scope), name) == 1 then
    return
  end
  local parent = table.concat({ is_here == '1' and '' or partition, id, scope, name, number }, LAYOUT.key_separator)
  local latest = outlives == '1' and '' or deadline
  if is_here == '1' then
    local status = start_child(child, parent, { task = task, queue = queue, input = input, timeout = timeout,
      nonce = number, limits = limits ~= '' and limits or nil, tags = tags ~= '' and tags or nil, deadline = latest })
    if status then
      refused[#refused + 1], refused[#refused + 2] = name, status
      return
    end
  else
    add_mail({ [MAIL.kind] = MAIL_KIND.start, [MAIL.parent] = parent, [MAIL.child] = child, [MAIL.task] = task,
      [MAIL.queue] = queue, [MAIL.input] = input, [MAIL.timeout] = timeout, [MAIL.limits] = limits, [MAIL.tags] = tags,
      [MAIL.deadline] = latest })
  end
  write_step(id, scope, name, { [STEP.child] = child, [STEP.parent] = parent, [STEP.fence] = '0@',
    [STEP.outlives] = outlives == '1' and '1' or nil })
  if outlives == '1' then
    redis.call('HINCRBY', KEY.execution(id), FIELD.outliving, 1)
  end
  require_feature(id, FEATURE.children)
end

for i = 7, #ARGV, SIZE_OF_CHILD do
  start(ARGV[i], unpack(ARGV, i + 1, i + SIZE_OF_CHILD - 1))
end
return refused
