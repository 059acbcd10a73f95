--@include base admit stream timers fence execution child glob pause damaged
-- claim: queued -> held by this worker, its epoch raised, all that it needs loaded.
--
-- ARGV    worker, how many at most, number of queues, the queues, then pairs (queue, entry) that a blocking
--         read has already delivered to this worker
-- answer  a list of
--           {'x', entry, queue, id, fence, scope, task, attempt, input, created, deadline, doom, failure,
--            records (flat), events (flat), children (names), now}
--           {'s', entry, queue, id, fence, scope, task, attempt, input, name, attempts, deadline, spec,
--            crashes, now}
--           {'!', id ('' if none is known), why}   an entry that cannot be read: set aside, with its execution
-- emits   nothing; entries that stand for nothing any more are deleted
local worker, limit, queues = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local claims = {}

-- A pause rule keeps it from being claimed, until the rule goes.
local function hold_execution(rule, held, id)
  local x = read_execution(id)
  forget_entry(x.queue, x.entry)
  redis.call('HSET', P .. 'x:' .. id, 'entry', '', 'fence', free_fence(x.fence), 'held', rule)
  x.held, x.entry = rule, ''
  hold_member(rule, 'x' .. id)
  if held.extend then
    stop_clock(id, x)
    arm(id, x)
  end
  if x.status == 'running' then
    move(id, x, 'waiting')
  end
end

local function hold_child(rule, queue, id, scope, name, c)
  forget_entry(queue, c.entry)
  c.entry, c.fence, c.held = '', free_fence(c.fence), rule
  write_child(id, scope, name, c)
  hold_member(rule, child_member(id, scope, name))
end

local function claim_execution(queue, entry, id)
  local key = P .. 'x:' .. id
  local v = redis.call('HMGET', key, 'status', 'entry', 'fence', 'scope', 'task', 'attempt', 'input', 'created',
    'deadline', 'doom', 'failure', 'facet', 'run', 'remaining')
  if v[1] and not is_live(v[1]) and not is_final(v[1]) then
    error('its status is none that exists')
  end
  if not v[1] or not is_live(v[1]) or v[2] ~= entry then
    return forget_entry(queue, entry)
  end
  if not is_scope(v[4], v[13]) then
    error('its run or its scope is none')
  end
  local rule, held = rule_for(id, v[5], nil)
  if rule and not v[10] then -- a doomed one fails, and begins no step by that
    return hold_execution(rule, held, id)
  end
  local fence = next_epoch(v[3]) .. '@' .. worker
  local records = redis.call('HGETALL', P .. 'r:' .. id .. ':' .. v[4])
  redis.call('HSET', key, 'fence', fence, 'progress', #records)
  if v[1] == 'scheduled' then
    redis.call('HSETNX', key, 'started', now())
    move(id, { status = v[1], facet = v[12], created = v[8] }, 'running')
  end
  forget_waits(id, { held = '', deadline = v[9] or '' })
  if v[14] then
    -- The clock of its deadline stood still while it was parked at a pause rule.
    v[9] = string.format('%d', now() + tonumber(v[14]))
    redis.call('HSET', key, 'deadline', v[9])
    redis.call('HDEL', key, 'remaining')
  end
  if v[9] and tonumber(v[9]) <= now() then
    -- Its deadline has passed, though its timer has not been run yet: Redis keeps the time.
    drop_children(id, { scope = v[4], queue = queue })
    redis.call('HDEL', key, 'deadline')
    redis.call('HSET', key, 'doom', 'deadline')
    v[9], v[10] = false, 'deadline'
  end
  if v[9] then
    set_timer('x' .. id, v[9])
  end
  claims[#claims + 1] = { 'x', entry, queue, id, fence, v[4], v[5], v[6], v[7], v[8], v[9] or '', v[10] or '',
    v[11] or '', records, redis.call('HGETALL', P .. 'e:' .. id .. ':' .. v[13]),
    redis.call('HKEYS', P .. 'c:' .. id .. ':' .. v[4]), now() }
end

local function claim_child(queue, entry, id, scope, name)
  local c = read_child(id, scope, name)
  if not c or c.entry ~= entry then
    return forget_entry(queue, entry)
  end
  local v = redis.call('HMGET', P .. 'x:' .. id, 'task', 'attempt', 'input')
  local rule = rule_for(id, v[1], name)
  if rule then
    return hold_child(rule, queue, id, scope, name, c)
  end
  c.fence, c.why = next_epoch(c.fence) .. '@' .. worker, ''
  if c.timeout ~= '' and c.deadline == '' then
    c.deadline = now() + tonumber(c.timeout)
  end
  write_child(id, scope, name, c)
  claims[#claims + 1] = { 's', entry, queue, id, c.fence, scope, v[1], v[2], v[3], name, c.attempts,
    tostring(c.deadline), c.spec, c.crashes, now() }
end

local function claim_entry(queue, entry, fields)
  local word = fields and fields[1]
  if word == 'x' and fields[2] then
    claim_execution(queue, entry, fields[2])
  elseif word == 's' and fields[6] then
    claim_child(queue, entry, fields[2], fields[4], fields[6])
  else
    forget_entry(queue, entry)
    if fields then
      claims[#claims + 1] = { '!', '', 'an entry of queue ' .. queue .. ' is no work' }
    end
  end
end

-- One that cannot be claimed keeps no other from being claimed.
local function claim_if_readable(queue, entry, fields)
  local why = failure_of(claim_entry, queue, entry, fields)
  if why then
    local id = fields[2]
    forget_entry(queue, entry)
    set_aside(id, why)
    claims[#claims + 1] = { '!', id, why }
  end
end

for i = 5 + queues, #ARGV, 2 do
  claim_if_readable(ARGV[i], ARGV[i + 1], fields_of(ARGV[i], ARGV[i + 1]))
end

local function read_stream(queue, key)
  local read = redis.pcall('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', limit, 'STREAMS', key, '>')
  if read and read.err then
    -- The group is lost, or was never made: begin at 0, so that what waits there is not passed over.
    redis.call('SADD', P .. 'queues', queue)
    redis.call('XGROUP', 'CREATE', key, GROUP, '0', 'MKSTREAM')
    read = redis.call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', limit, 'STREAMS', key, '>')
  end
  return read and read[1][2] or {}
end

for i = 5, 4 + queues do
  for _, mark in ipairs({ BACK, '' }) do
    if limit > 0 then
      for _, item in ipairs(read_stream(ARGV[i], (stream_of(ARGV[i], mark)))) do
        limit = limit - 1
        claim_if_readable(ARGV[i], mark .. item[1], item[2])
      end
    end
  end
end
return claims
