-- upgrade: converts keys of the unversioned layout to this one; keys that are converted already are left as they are.
--
-- takes: cursor, keys...
--   cursor: where to resume in a large key, as returned; '0' to begin
--   keys: without the prefix; one only, if the cursor is not '0'
-- returns: {'live', worker} if a worker of the unversioned layout holds a lease: nothing was changed | {'upgraded', cursor,
--   large keys...}; each large key is still to be converted, in separate calls until its cursor is '0' again
-- emits: nothing
-- repeat: same — a converted key is left as it is
-- confirm: yes — the layout version is set when all keys are converted
-- memory: allow
local cursor = unpack(ARGV, 2, 2)
local LARGE = 200

-- Names of the unversioned layout, which no later layout uses.
local RENAMED_FIELDS = { facet = FIELD.bucket, doom = FIELD.fail_reason, told = FIELD.signalled_at,
  progress = FIELD.records, finishing = FIELD.pending_retention, since = FIELD.resumed_at, by = FIELD.triggered_by,
  held = FIELD.paused_by, remaining = FIELD.paused_deadline_ms, ended_by = FIELD.end_nonce, answer = FIELD.reply,
  failures = FIELD.failed_attempts }
local RENAMED_KEYS = { facets = KEY.buckets, rules = KEY.pause_rules, epoch = KEY.purged_epoch }
local POSITIONS = { STEP.spec, STEP.entry, STEP.fence, STEP.failed_attempts, STEP.deadline, STEP.timeout, STEP.crashes,
  STEP.paused_by, STEP.unrunnable }

local function live_unversioned_worker()
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', KEY.workers, '(' .. now(), '+inf')) do
    if redis.call('HEXISTS', KEY.worker_info, worker) == 0 then
      return worker
    end
  end
end

local function convert_execution(key)
  for old, new in pairs(RENAMED_FIELDS) do
    local value = redis.call('HGET', key, old)
    if value then
      redis.call('HSET', key, new, value)
      redis.call('HDEL', key, old)
    end
  end
end

-- Where the packed value that begins at a position ends; nil if there is none.
local function skip_packed(text, at)
  local byte = string.byte(text, at)
  local sizes = { [0xc4] = 1, [0xc5] = 2, [0xc6] = 4, [0xd9] = 1, [0xda] = 2, [0xdb] = 4, [0xc7] = 1, [0xc8] = 2, [0xc9] = 4 }
  local fixed = { [0xca] = 4, [0xcb] = 8, [0xcc] = 1, [0xcd] = 2, [0xce] = 4, [0xcf] = 8, [0xd0] = 1, [0xd1] = 2,
    [0xd2] = 4, [0xd3] = 8, [0xd4] = 2, [0xd5] = 3, [0xd6] = 5, [0xd7] = 9, [0xd8] = 17 }
  local counts = { [0xdc] = 2, [0xdd] = 4, [0xde] = 2, [0xdf] = 4 }
  if byte < 0x80 or byte >= 0xe0 or (byte >= 0xc0 and byte <= 0xc3) then
    return at + 1
  elseif byte >= 0xa0 and byte < 0xc0 then
    return at + 1 + byte - 0xa0
  elseif fixed[byte] then
    return at + 1 + fixed[byte]
  elseif sizes[byte] then
    local length = struct.unpack('>I' .. sizes[byte], text, at + 1)
    return at + 1 + sizes[byte] + length + (byte >= 0xc7 and byte <= 0xc9 and 1 or 0)
  end
  local count, following = byte % 16, at + 1
  if counts[byte] then
    count, following = struct.unpack('>I' .. counts[byte], text, at + 1), at + 1 + counts[byte]
  end
  for _ = 1, (byte >= 0xde or byte < 0x90) and 2 * count or count do
    following = skip_packed(text, following)
  end
  return following
end

-- Behind a completion, a note or the letter of an event there were only six bytes of time.
local OLD_STAMP = 6
local NO_NUMBER = string.rep('\0', SIZE.number)

local function convert_stamp(record, from)
  if #record - from + 1 == OLD_STAMP then
    return string.sub(record, 1, from - 1) .. NO_NUMBER .. string.sub(record, from)
  end
end

local function convert_record(record)
  local kind = kind_of(record)
  if kind == RECORD.slept or kind == RECORD.timed_out then
    return convert_stamp(record, 2)
  elseif is_final_record(record) then
    return convert_stamp(record, skip_packed(record, 2))
  end
end

local function convert_event(event)
  local from = SIZE.nonce + 2
  if string.byte(event, from) > 0 then -- of a time the first byte is 1, of a number it is 0
    return string.sub(event, 1, from - 1) .. NO_NUMBER .. string.sub(event, from)
  end
end

local function convert_log(key)
  for i, note in ipairs(redis.call('LRANGE', key, 0, -1)) do
    local converted = convert_stamp(note, skip_packed(note, 1))
    if converted then
      redis.call('LSET', key, i - 1, converted)
    end
  end
end

local function convert_waits(key)
  if redis.call('TYPE', key).ok == 'hash' then
    local waits = redis.call('HGETALL', key)
    redis.call('DEL', key)
    for i = 1, #waits, 2 do
      local kind, due = kind_of(waits[i + 1]), string.sub(waits[i + 1], 2)
      if kind == WAIT.pause then
        redis.call('ZADD', key, '+inf', waits[i + 1])
      else
        redis.call('ZADD', key, due == '' and '+inf' or due, kind .. waits[i])
      end
    end
  end
end

local function convert_past_run(packed)
  local fields = cmsgpack.unpack(packed)
  for i = 1, #fields, 2 do
    fields[i] = RENAMED_FIELDS[fields[i]] or fields[i]
  end
  return cmsgpack.pack(fields)
end

local function convert_step(packed)
  local values = cmsgpack.unpack(packed)
  if values[1] == nil then
    return nil -- a map already
  end
  local stored = {}
  for i, name in ipairs(POSITIONS) do
    if values[i] ~= '' and values[i] ~= 0 then
      stored[name] = values[i]
    end
  end
  return cmsgpack.pack(stored)
end

-- Converts the values of a hash, from the cursor on. Returns the next cursor.
local function convert_values(key, convert)
  local scanned = redis.call('HSCAN', key, cursor, 'COUNT', LARGE)
  for i = 1, #scanned[2], 2 do
    local readable, value = pcall(convert, scanned[2][i + 1])
    if readable and value then -- what is damaged stays as it is, for `doctor`
      redis.call('HSET', key, scanned[2][i], value)
    end
  end
  return scanned[1]
end

local function rename(old, new)
  if redis.call('EXISTS', old) == 1 then
    redis.call('RENAMENX', old, new)
  end
end

local function convert(name)
  local key, kind, rest = P .. name, string.match(name, '^(%a+):(.*)$')
  if RENAMED_KEYS[name] then
    rename(key, RENAMED_KEYS[name])
  elseif name == 'about' then
    redis.call('DEL', key)
  elseif kind == 'held' then
    rename(key, KEY.paused(rest))
  elseif kind == 'x' then
    convert_execution(key)
  elseif kind == 'h' then
    return convert_values(key, convert_past_run)
  elseif kind == 'c' then
    return convert_values(key, convert_step)
  elseif kind == 'r' then
    return convert_values(key, convert_record)
  elseif kind == 'e' then
    return convert_values(key, convert_event)
  elseif kind == 'a' then
    convert_log(key)
  elseif kind == 'w' then
    convert_waits(key)
  end
  return '0'
end

local worker = live_unversioned_worker()
if worker then
  return { 'live', worker }
end
local following, large = '0', {}
for i = 3, #ARGV do
  local size = #ARGV > 3 and redis.pcall('HLEN', P .. ARGV[i]) or 0
  if type(size) == 'number' and size > LARGE then
    large[#large + 1] = ARGV[i]
  else
    -- A key of a wrong type stays as it is, for `doctor`.
    local readable, next_cursor = pcall(convert, ARGV[i])
    following = readable and next_cursor or '0'
  end
end
return { 'upgraded', following, unpack(large) }
