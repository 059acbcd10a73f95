-- claim: queued -> held by this worker, its epoch raised, with all that it needs to run.
--
-- takes: worker, limit, lane, handlers, queue_count, queues_and_delivered...
--   lane: '' for what is new or was given back; '?' in a quarantine process, for one suspect; '>' for what waits for a
--   worker of a version that this one runs
--   handlers: JSON of the ranges of versions that the worker runs of each task: {"task": [[first, last], ...]}; '' for all;
--     [first, last, 1] if the handler has limits
--   queues_and_delivered: the queues, then pairs (queue, entry) that a blocking read has delivered to this worker
-- returns: {} if there is nothing | {names of a body's values, names of a scheduled step's values, claims}; a claim is
--   {'x' | 's', values...}, or {'!', id or '', why} for what could not be read and was set aside, or {'-', id, task,
--   version or '', has begun} for what waits for another worker from now on | 'again' if there may be more suspects behind
--   those that were cleared
-- emits: a timer for the deadline; a revoke to workers that hold steps of an execution whose deadline has passed; a stream
--   entry for each suspect that is cleared, because a death was traced to another one; a message about what this worker
--   cannot run
-- repeat: same — what a lost reply claimed pends for the worker, which claims it again with a higher epoch
-- confirm: no — a lost claim is made again
-- memory: reject
local worker, limit, lane, handlers, queue_count = unpack(ARGV, 2, 6)
limit, queue_count = tonumber(limit), tonumber(queue_count)
local claims = {}

-- A pause rule keeps a body in the queue from being claimed until the rule is removed.
local function pause_body(rule_id, rule, id, x)
  detach(id, x, free_fence(x.fence), FIELD.paused_by, rule_id)
  x.paused_by = rule_id
  add_paused(rule_id, execution_member(id))
  if rule[RULE.extend] then
    stop_deadline(id, x)
    reschedule_timer(id, x)
  end
  if x.status == STATUS.running then
    set_status(id, x, STATUS.waiting)
  end
end

local function pause_step(rule_id, queue, id, scope, name, step)
  detach_step(queue, step, free_fence(step.fence))
  step.paused_by = rule_id
  write_step(id, scope, name, step)
  add_paused(rule_id, step_member(id, scope, name))
end

-- What the packed blame of a suspect has become since it was queued: '' if it is cleared, because the death was traced to
-- another suspect, or what it is once deaths that nobody has reported count.
local function judge(packed)
  local blame = read_blame(packed)
  if is_cleared(blame) then
    return ''
  end
  settle_blame(blame)
  return cmsgpack.pack(blame), blame[BLAME.convicted]
end

-- Returns true if the body is to be claimed; else it was cleared, and waits for any worker.
local function judge_body(id, x)
  local blame, is_convicted = judge(x.blame)
  if blame == '' then
    forgive(id, x)
    detach(id, x, free_fence(x.fence))
    enqueue(id, x, LANE.returned)
    return false
  elseif is_convicted then
    x.fail_reason, x.blame = FAIL_REASON.crashes, blame
    redis.call('HSET', KEY.execution(id), FIELD.fail_reason, x.fail_reason, FIELD.blame, blame)
  end
  return true
end

-- The same for a scheduled step.
local function judge_step(queue, id, scope, name, step)
  local blame = judge(step.blame)
  step.blame = blame ~= '' and blame or nil
  if blame == '' then
    detach_step(queue, step, free_fence(step.fence))
    step.entry = enqueue_step(queue, id, scope, name, nil, LANE.returned)
    write_step(id, scope, name, step)
  end
  return blame ~= ''
end

local ranges

-- The version as which this worker runs a body: that of the run, or the highest one for a run that has none yet; else nil.
local function runnable_version(task, version)
  if handlers == '' then
    return version ~= '' and version or '1'
  end
  ranges = ranges or cjson.decode(handlers)
  local highest
  for _, range in ipairs(ranges[task] or {}) do
    if version == '' then
      highest = math.max(highest or 0, range[2])
    elseif range[1] <= tonumber(version) and tonumber(version) <= range[2] then
      return version
    end
  end
  return highest and string.format('%d', highest)
end

-- Whether the handler that runs a version begins under limits.
local function is_limited(task, version)
  for _, range in ipairs(ranges and ranges[task] or {}) do
    if range[1] <= tonumber(version) and tonumber(version) <= range[2] then
      return range[3] ~= nil
    end
  end
  return false
end

-- Leaves a body to a worker that runs its version; '' means any version of a task that is unknown here.
local function leave_unserved(id, x, version)
  local wanted = version ~= '' and version or '0'
  local reason = version ~= '' and string.format('a worker for version %s of task %s', version, x.task)
    or string.format("no worker here knows task '%s'", x.task)
  detach(id, x, free_fence(x.fence), FIELD.unserved, wanted, FIELD.held, reason, FIELD.held_since, now())
  add_unserved(execution_member(id), x, wanted)
  redis.call('ZADD', KEY.waits(id), '+inf', WAIT.unknown_task)
  if x.status == STATUS.running then
    set_status(id, x, STATUS.waiting)
  end
  claims[#claims + 1] = { '-', id, x.task, version, x.started ~= '' and '1' or '' }
end

-- A scheduled step of a run is left to workers of its version, unless the worker has no version of the task at all: it is
-- there for the steps.
local function leave_step_unserved(queue, id, scope, name, step, x, version)
  detach_step(queue, step, free_fence(step.fence))
  step.unserved, step.held_since = x.bucket .. ':' .. version, step.held_since or now()
  step.unrunnable = string.format('a worker for version %s of task %s', version, x.task)
  write_step(id, scope, name, step)
  add_unserved(step_member(id, scope, name), x, version)
end

-- What a pass needs: all that is recorded; only the news for a worker that keeps the body.
local function load_body(id, x, is_kept)
  if is_kept then
    local news, newest = read_news(id, x, 0)
    return { records = {}, events = {}, steps = {}, waits = {},
      completions = newest, news = news, has_waits = redis.call('EXISTS', KEY.waits(id)) == 1 }
  end
  redis.call('DEL', KEY.groups(id), KEY.news(id)) -- the pass registers its groups again, and knows all completions
  local body = read_recorded(id, x)
  body.news, body.has_waits = {}, #body.waits > 0
  return body
end

local has_bodies, has_steps = false, false

-- The names of the values in the claim of a body.
local function body_names()
  return { CLAIM.entry, CLAIM.queue, CLAIM.execution_id, CLAIM.fence, CLAIM.scope, CLAIM.task, CLAIM.version,
    CLAIM.attempt, CLAIM.input, CLAIM.created, CLAIM.deadline, CLAIM.fail_reason, CLAIM.failure, CLAIM.has_begun, CLAIM.holds, CLAIM.held_since,
    CLAIM.records, CLAIM.events, CLAIM.steps, CLAIM.waits, CLAIM.completions, CLAIM.clock_base, CLAIM.parked_at,
    CLAIM.emitted, CLAIM.kept_at, CLAIM.news, CLAIM.blame, CLAIM.limits, CLAIM.tags, CLAIM.scheduled_for, CLAIM.reason,
    CLAIM.compensates, CLAIM.now }
end

local function claim_body(queue, entry, id)
  local v = redis.call('HMGET', KEY.execution(id), FIELD.status, FIELD.entry, FIELD.fence, FIELD.scope, FIELD.run,
    FIELD.task, FIELD.attempt, FIELD.input, FIELD.created, FIELD.bucket, FIELD.deadline, FIELD.fail_reason,
    FIELD.failure, FIELD.needs, FIELD.paused_deadline_ms, FIELD.started, FIELD.clock_base, FIELD.kept_by, FIELD.parked_at,
    FIELD.held, FIELD.trigger, FIELD.blame, FIELD.version, FIELD.limits, FIELD.emitted, FIELD.expires,
    FIELD.tags, FIELD.scheduled_for, FIELD.reason, FIELD.compensates)
  -- A queued one is not paused, and waits for no other worker.
  local x = { status = v[1] or '', entry = v[2], fence = v[3], scope = v[4] or '', run = v[5] or '', task = v[6] or '',
    attempt = v[7] or '', input = v[8] or '', created = v[9] or '', bucket = v[10] or '', deadline = v[11] or '',
    fail_reason = v[12] or '', failure = v[13] or '', started = v[16] or '', clock_base = v[17], kept_by = v[18] or '',
    held = v[20] or '', trigger = v[21], blame = v[22] or '', version = v[23] or '', limits = v[24] or '', expires = v[26] or '', queue = queue,
    paused_by = '', unserved = '' }
  if x.status ~= '' and not is_live(x.status) and not is_final(x.status) then
    error('unknown status')
  elseif not is_live(x.status) or x.entry ~= entry then
    return ack_and_delete(queue, entry)
  elseif is_beyond_us(v[14]) then
    return put_entry_off(queue, entry)
  elseif not is_scope(x.scope, x.run) then
    error('scope does not belong to run')
  elseif x.expires ~= '' and lapse(id, x) then
    return -- its timer has not fired yet
  end
  local rule_id, rule = find_rule(id, x.task, nil, queue)
  if rule and x.fail_reason == '' then -- one that only has to be failed is not delayed by a pause
    return pause_body(rule_id, rule, id, x)
  end
  if lane == LANE.suspect and is_suspect(x.blame) and not judge_body(id, x) then
    return
  end
  local holds, held_since = 0, ''
  if x.held ~= '' then
    holds, held_since = unpack(redis.call('HMGET', KEY.execution(id), FIELD.holds, FIELD.held_since))
    end_hold(id)
  end
  resume_deadline(id, x, v[15])
  local bound = x.version ~= '' and x.version or x.started ~= '' and '1' or ''
  local version = runnable_version(x.task, bound)
  if not version then
    return leave_unserved(id, x, bound)
  end
  local is_expired = has_expired(x)
  if is_expired then
    set_fail_reason(id, x, FAIL_REASON.deadline) -- its timer has not fired yet
  end
  if x.expires ~= '' then
    stop_expiry(id)
  end
  local fired = fire_overdue(id, x)
  local is_kept = x.kept_by == worker and x.fail_reason == ''
  local kept_at = is_kept and x.fence or ''
  x.fence = next_fence(x.fence, worker)
  local body = load_body(id, x, is_kept)
  redis.call('HSET', KEY.execution(id), FIELD.fence, x.fence)
  if x.kept_by ~= '' then
    redis.call('HDEL', KEY.execution(id), FIELD.kept_by)
  end
  local has_begun = x.started ~= '' or x.trigger == TRIGGER.continue_as_new
  if x.status == STATUS.scheduled then
    if x.started == '' then
      if bound == '' and version ~= '1' then
        bind_version(id, x, version)
      end
      if x.limits == '' and is_limited(x.task, version) then
        x.limits = LAYOUT.unknown_counters
        redis.call('HSET', KEY.execution(id), FIELD.limits, x.limits)
      end
      x.started = string.format('%d', now())
      redis.call('HSET', KEY.execution(id), FIELD.started, x.started)
    end
    set_status(id, x, STATUS.running)
  end
  if body.has_waits or x.expires ~= '' or x.deadline ~= '' or is_expired or fired > 0 or x.held ~= '' then
    reschedule_timer(id, x)
  end
  has_bodies = true
  claims[#claims + 1] = { ENTRY.execution, entry, queue, id, x.fence, x.scope, x.task, version, x.attempt,
    x.input, x.created, x.deadline, x.fail_reason, x.failure, has_begun and '1' or '', holds, held_since,
    body.records, body.events, body.steps, body.waits, body.completions, x.clock_base or x.started, v[19] or '', v[25] or 0, kept_at,
    body.news, x.blame, x.limits, v[27] or '', v[28] or '', v[29] or '', v[30] or '', now() }
end

-- The names of the values in the claim of a scheduled step.
local function step_names()
  return { CLAIM.entry, CLAIM.queue, CLAIM.execution_id, CLAIM.fence, CLAIM.scope, CLAIM.task, CLAIM.version,
    CLAIM.attempt, CLAIM.input, CLAIM.created, CLAIM.name, CLAIM.failed_attempts, CLAIM.deadline, CLAIM.spec, CLAIM.blame, CLAIM.holds,
    CLAIM.tags, CLAIM.scheduled_for, CLAIM.now }
end

local PARENT_FIELDS = { FIELD.task, FIELD.version, FIELD.attempt, FIELD.input, FIELD.created, FIELD.needs, FIELD.bucket,
  FIELD.tags, FIELD.scheduled_for }

local function claim_step(queue, entry, id, scope, name)
  local step = read_step(id, scope, name)
  if not step or step.entry ~= entry then
    return ack_and_delete(queue, entry)
  end
  local x = read_fields(id, PARENT_FIELDS)
  if is_beyond_us(x.needs) then
    return put_entry_off(queue, entry)
  end
  local rule_id = find_rule(id, x.task, name, queue)
  if rule_id then
    return pause_step(rule_id, queue, id, scope, name, step)
  elseif lane == LANE.suspect and is_suspect(step.blame) and not judge_step(queue, id, scope, name, step) then
    return
  end
  local version = x.version ~= '' and x.version or '1'
  if not runnable_version(x.task, version) and ranges[x.task] then
    x.queue = queue
    return leave_step_unserved(queue, id, scope, name, step, x, version)
  end
  if step.unrunnable then
    redis.call('HDEL', KEY.held, step_member(id, scope, name))
    step.unrunnable = nil
  end
  step.fence = next_fence(step.fence, worker)
  if step.timeout and not step.deadline then
    step.deadline = now() + tonumber(step.timeout)
  end
  write_step(id, scope, name, step)
  has_steps = true
  claims[#claims + 1] = { ENTRY.step, entry, queue, id, step.fence, scope, x.task, version, x.attempt,
    x.input, x.created, name, step.failed_attempts or 0, step.deadline or '', step.spec or '', step.blame or '', step.holds or 0, x.tags, x.scheduled_for, now() }
end

local function claim_entry(queue, entry, fields)
  if not fields then
    ack_and_delete(queue, entry)
  elseif fields[1] == ENTRY.execution then
    claim_body(queue, entry, fields[2])
  elseif fields[1] == ENTRY.step and fields[6] then
    claim_step(queue, entry, fields[2], fields[4], fields[6])
  else
    put_entry_off(queue, entry)
  end
end

-- Work that cannot be claimed does not keep other work from being claimed.
local function claim_if_readable(queue, entry, fields)
  local why = failure_of(claim_entry, queue, entry, fields)
  if why then
    local id = fields[2]
    ack_and_delete(queue, entry)
    local set = fields[1] == ENTRY.execution and set_body_aside or set_aside
    set(id, why)
    claims[#claims + 1] = { '!', id, why }
  end
end

for i = 7 + queue_count, #ARGV, 2 do
  claim_if_readable(ARGV[i], ARGV[i + 1], read_entry(ARGV[i], ARGV[i + 1]))
end

local function read_stream(queue, key, most)
  local read = redis.pcall('XREADGROUP', 'GROUP', LAYOUT.group, worker, 'COUNT', most, 'STREAMS', key, '>')
  if read and read.err then
    -- The group does not exist (yet, or any more). Begin at 0: what is in the stream already is work, too.
    redis.call('SADD', KEY.queues, queue)
    redis.call('XGROUP', 'CREATE', key, LAYOUT.group, '0', 'MKSTREAM')
    read = redis.call('XREADGROUP', 'GROUP', LAYOUT.group, worker, 'COUNT', most, 'STREAMS', key, '>')
  end
  return read and read[1][2] or {}
end

-- Queues a body that has waited for this worker.
local function hand_body(member, bucket, version)
  local id = string.sub(member, 2)
  local x = read_execution(id)
  if not is_live(x.status) or x.unserved ~= version or x.bucket ~= bucket then
    return remove_unserved(member, bucket, version)
  end
  end_hold(id)
  enqueue(id, x, LANE.handed)
end

local function hand_step(member, bucket, version)
  remove_unserved(member, bucket, version)
  local id, scope, name = unpack(cjson.decode(string.sub(member, 2)))
  local step = read_step(id, scope, name)
  if step and step.unserved == bucket .. ':' .. version and not step.entry then
    step.unserved = nil
    step.entry = enqueue_step(queue_of_step(id, step), id, scope, name, step.blame, LANE.handed)
    write_step(id, scope, name, step)
  end
end

-- Claims what has waited for a worker of this version; what cannot be read is left to the doctor.
local function take_unserved(queue, bucket, version)
  for _, member in ipairs(redis.call('ZRANGE', KEY.unserved(bucket, version), 0, limit - 1)) do
    local is_body = string.sub(member, 1, 1) == TIMER.execution
    local why = failure_of(is_body and hand_body or hand_step, member, bucket, version)
    if why then
      remove_unserved(member, bucket, version)
    end
    for _, item in ipairs(read_stream(queue, KEY.handed(queue), limit)) do -- nobody else reads what is added here
      limit = limit - 1
      claim_if_readable(queue, LANE.handed .. item[1], item[2])
    end
  end
end

local function take_all_unserved()
  local queues, kinds = {}, redis.call('HGETALL', KEY.unserved_kinds)
  for i = 7, 6 + queue_count do
    queues[ARGV[i]] = true
  end
  for i = 1, #kinds, 2 do
    local bucket, version = string.match(kinds[i], '^(%d+):(%d+)$')
    local task, queue = unpack(cjson.decode(kinds[i + 1]))
    if limit > 0 and queues[queue] and runnable_version(task, version ~= '0' and version or '') then
      take_unserved(queue, bucket, version)
    end
  end
end

local function claim_new(queue)
  for _, from in ipairs({ LANE.returned, LANE.new }) do
    if limit > 0 then
      for _, item in ipairs(read_stream(queue, (stream_of(queue, from)), limit)) do
        limit = limit - 1
        claim_if_readable(queue, from .. item[1], item[2])
      end
    end
  end
end

local MAX_CLEARED = 200
local looked_at = 0

-- Claims the first suspect of a queue, one at a time: what comes before it may be cleared meanwhile.
local function claim_suspect(queue)
  while #claims < limit and looked_at < MAX_CLEARED do
    local item = read_stream(queue, KEY.suspects(queue), 1)[1]
    if not item then
      return
    end
    looked_at = looked_at + 1
    claim_if_readable(queue, LANE.suspect .. item[1], item[2])
  end
end

if lane == LANE.handed then
  take_all_unserved()
else
  for i = 7, 6 + queue_count do
    if lane == LANE.suspect then
      claim_suspect(ARGV[i])
    else
      claim_new(ARGV[i])
    end
  end
end
if looked_at == MAX_CLEARED then
  return 'again'
end
if #claims == 0 then
  return claims
end
return { has_bodies and body_names() or false, has_steps and step_names() or false, claims }
