-- Completions: what a body awaits ends, and gets the next number of its run. A body learns of completions in the order of
-- their numbers, in each pass. The worker that holds it numbers its own, and finds those of others in the news.

local MAX_FIRED = 200

local function next_number(id)
  return redis.call('HINCRBY', KEY.execution(id), FIELD.completions, 1)
end

local function announce(id, x, number, kind, name)
  if owner_of(x.fence) or x.kept_by ~= '' then
    redis.call('RPUSH', KEY.news(id), struct.pack(LAYOUT.number, number) .. kind .. name)
  end
end

local MAX_NEWS = 200

-- The record of a completion in the news.
local function completed_record(id, x, kind, name, number)
  if kind == NEWS.event then
    local event = redis.call('HGET', KEY.events(id, x.run), name)
    if event and event_number(event) == number then
      return RECORD.event .. event
    end
  end
  return redis.call('HGET', KEY.records(id, x.scope), kind == NEWS.timer and LAYOUT.timer_prefix .. name or name)
end

-- Deletes the news up to the number `seen`.
local function forget_news(id, seen)
  local read
  repeat
    local items = redis.call('LRANGE', KEY.news(id), 0, MAX_NEWS - 1)
    read = 0
    while items[read + 1] and struct.unpack(LAYOUT.number, items[read + 1]) <= seen do
      read = read + 1
    end
    if read > 0 then
      redis.call('LTRIM', KEY.news(id), read, -1)
    end
  until read < MAX_NEWS
end

-- The oldest news after the number `seen`, as triples (letter of `News`, name, record), and the number up to which that
-- is all. What the worker has seen before is deleted.
local function read_news(id, x, seen)
  local newest = tonumber(redis.call('HGET', KEY.execution(id), FIELD.completions) or 0)
  if seen > 0 then
    forget_news(id, seen)
  end
  local items = redis.call('LRANGE', KEY.news(id), 0, MAX_NEWS)
  if #items > MAX_NEWS then
    newest = struct.unpack(LAYOUT.number, table.remove(items)) - 1
  end
  local news = {}
  for _, item in ipairs(items) do
    local number, kind = struct.unpack(LAYOUT.number, item), string.sub(item, SIZE.number + 1, SIZE.number + 1)
    local name = string.sub(item, SIZE.number + 2)
    local record = completed_record(id, x, kind, name, number) or ''
    if kind_of(record) ~= RECORD.unreceived then -- else the message has gone back
      news[#news + 1], news[#news + 2], news[#news + 3] = kind, name, record
    end
  end
  return news, newest
end

-- Records a completion that the body's worker has not recorded itself.
local function complete_wait(id, x, kind, name, recorded_name, record)
  local number = next_number(id)
  redis.call('HSET', KEY.records(id, x.scope), recorded_name, record .. stamp(number))
  announce(id, x, number, kind, name)
end

local function fire_wait(id, x, kind, name, due)
  if kind == WAIT.sleep then
    complete_wait(id, x, NEWS.sleep, name, name, RECORD.slept)
  elseif kind == WAIT.event then
    complete_wait(id, x, NEWS.event, name, name, RECORD.timed_out)
  elseif kind == WAIT.message then
    leave_receivers(id, name, redis.call('HGET', KEY.records(id, x.scope), name))
    complete_wait(id, x, NEWS.message, name, name, RECORD.no_message)
  elseif kind == WAIT.timer then
    complete_wait(id, x, NEWS.timer, name, LAYOUT.timer_prefix .. name, RECORD.fired .. due)
  end
end

-- Ends what is overdue, in the order in which it became due. Whatever numbers a completion does this first: what was due
-- before comes before, although no worker was there. Returns how many waits ended; if MAX_FIRED, there may be more.
local function fire_overdue(id, x)
  local overdue = redis.call('ZRANGEBYSCORE', KEY.waits(id), '-inf', now(), 'WITHSCORES', 'LIMIT', 0, MAX_FIRED)
  local fired = 0
  for i = 1, #overdue, 2 do
    local member = overdue[i]
    if is_known_wait(member) and kind_of(member) ~= WAIT.expiry then
      redis.call('ZREM', KEY.waits(id), member)
      fire_wait(id, x, kind_of(member), string.sub(member, 2), overdue[i + 1])
      fired = fired + 1
    end
  end
  return fired
end

-- The same for an execution that is about to get another completion. Returns false if more is overdue: try again.
local function catch_up(id, x)
  local fired = fire_overdue(id, x)
  if fired > 0 then
    wake(id, x)
    reschedule_timer(id, x)
  end
  return fired < MAX_FIRED
end

-- Records the result of a scheduled step, unless it has one.
local function record_step(id, x, scope, name, record)
  if redis.call('HEXISTS', KEY.records(id, scope), name) == 0 then
    local number = next_number(id)
    redis.call('HSET', KEY.records(id, scope), name, record .. stamp(number))
    announce(id, x, number, NEWS.step, name)
  end
end

-- A scheduled step has ended: wakes the body if it was the last of a group.
local function leave_groups(id, x, name)
  local key = KEY.groups(id)
  local groups = redis.call('HGET', key, GROUP_FIELD.step .. name)
  if not groups then
    return
  end
  redis.call('HDEL', key, GROUP_FIELD.step .. name)
  for group in string.gmatch(groups, '%d+') do
    if redis.call('HINCRBY', key, GROUP_FIELD.missing .. group, -1) == 0 then
      redis.call('HDEL', key, GROUP_FIELD.missing .. group)
      wake(id, x)
    end
  end
end
