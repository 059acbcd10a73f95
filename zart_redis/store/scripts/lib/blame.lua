-- What work is blamed for: the deaths of workers that held it; see `BlameField` in `layout.py`.

local MAX_DEATHS = 20
local DAY_MS = 24 * 3600 * 1000

-- The map, or nil if it is blamed for nothing.
local function read_blame(packed)
  if packed and packed ~= '' then
    return cmsgpack.unpack(packed)
  end
end

local function is_suspect(packed)
  local blame = read_blame(packed)
  return blame and blame[BLAME.suspect] or false
end

-- The lane that work is queued in.
local function lane_of(packed, lane)
  return is_suspect(packed) and LANE.suspect or lane or LANE.new
end

local function keep_for_a_day(key, member)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now() - DAY_MS)
  redis.call('ZADD', key, now(), member)
end

local function has_come_back(worker)
  return redis.call('ZSCORE', KEY.rejoined, worker) or tonumber(redis.call('ZSCORE', KEY.workers, worker) or 0) > now()
end

-- Counts the deaths whose worker has not come back in time, and convicts if as many count as are allowed.
local function settle_blame(blame)
  for _, death in ipairs(blame[BLAME.deaths]) do
    if death[DEATH.due] and death[DEATH.due] <= now() then
      death[DEATH.due] = nil
      if not has_come_back(death[DEATH.worker]) then
        death[DEATH.counts] = true
        blame[BLAME.counted] = blame[BLAME.counted] + 1
      end
    end
  end
  if blame[BLAME.counted] >= blame[BLAME.allowed] then
    blame[BLAME.convicted], blame[BLAME.suspect] = true, nil
  end
end

-- The one suspect of a quarantine process has ended it: whatever else had died with this suspect before is cleared.
local function trace_deaths(blame)
  for _, worker in ipairs(blame[BLAME.together]) do
    keep_for_a_day(KEY.traced, worker)
  end
  blame[BLAME.together] = {}
end

-- Adds a death to what work is blamed for, which may be nil. `fence` is that of its last claim.
--
-- death: { worker, cause, what, pid, host, allowed, patience, is_alone }; is_alone says that the worker held nothing else
local function blame_for(blame, fence, death)
  blame = blame or { [BLAME.counted] = 0, [BLAME.ran] = 0, [BLAME.together] = {}, [BLAME.deaths] = {} }
  local deaths = blame[BLAME.deaths]
  local is_first, is_proven = #deaths == 0, blame[BLAME.suspect] and death.is_alone
  local entry = { [DEATH.what] = death.what, [DEATH.worker] = death.worker, [DEATH.pid] = death.pid,
    [DEATH.host] = death.host, [DEATH.at] = now() }
  if death.cause == CAUSE.proof or (is_proven and death.cause ~= CAUSE.lapse) then
    entry[DEATH.counts] = true
    blame[BLAME.counted] = blame[BLAME.counted] + 1
    trace_deaths(blame)
  elseif is_proven then
    entry[DEATH.due] = now() + death.patience
  else
    local together = blame[BLAME.together]
    together[#together + 1] = death.worker
    if #together > MAX_DEATHS then
      table.remove(together, 1)
    end
  end
  deaths[#deaths + 1] = entry
  if #deaths > MAX_DEATHS then
    table.remove(deaths, 1)
  end
  blame[BLAME.suspect] = death.cause == CAUSE.crash or (death.cause ~= CAUSE.proof and not is_first) or nil
  blame[BLAME.ran] = math.max(blame[BLAME.ran], now() - epoch_of(fence))
  blame[BLAME.allowed] = death.allowed
  settle_blame(blame)
  return blame
end

-- Whether one of the deaths that made work a suspect was traced to something else.
local function is_cleared(blame)
  for _, worker in ipairs(blame[BLAME.together]) do
    if redis.call('ZSCORE', KEY.traced, worker) then
      return true
    end
  end
  return false
end

-- A body has made progress: it is blamed for nothing any more.
local function forgive(id, x)
  if x.blame ~= '' then
    redis.call('HDEL', KEY.execution(id), FIELD.blame)
    x.blame = ''
  end
end
