-- emit: what a body or a step emits: items of streams, values, progress. An item that has been stored already is skipped.
--
-- takes: id, fence, scope, ack, name, entry, step, attempt, token, first, limit, emissions...
--   name, entry: of the claim of a scheduled step; '' if the body is held
--   step, attempt, token: the step that emits, and what distinguishes its attempts; '' for the body
--   first: the number of the first emission, among those of the attempt or of the body
--   limit: a stream that has twice as many items is trimmed to this number
--   emissions: triples (letter of `Emission`, name of the stream or key, value)
-- returns: 'done' | 'fenced'
-- emits: the names of the streams to their followers
-- repeat: same — emissions are numbered, and one that is stored is skipped
-- confirm: no — the record that follows is confirmed, and with it all that was written before
-- memory: allow
local id, fence, scope, ack, name, entry, step, attempt, token, first, limit = unpack(ARGV, 2, 12)
local run = string.match(scope, '^%d+')

local function owns()
  if name == '' then
    return owns_claim(id, fence, scope, ack)
  end
  local scheduled = read_step(id, scope, name)
  return scheduled and scheduled.fence == fence and scheduled.entry == entry
end

if not owns() then
  return 'fenced'
end

local lengths, numbers = {}, {}

local function number_of_stream(stream)
  if not numbers[stream] then
    local number = redis.call('HGET', KEY.streams(id), stream)
    if not number then
      number = redis.call('HINCRBY', KEY.streams(id), '', 1)
      redis.call('HSET', KEY.streams(id), stream, number)
    end
    numbers[stream] = string.format('%d', number)
  end
  return numbers[stream]
end

-- The item is its value, or empty if another attempt of the step begins.
local function add_item(number, ...)
  local key, at = KEY.stream(id, number), now()
  local length = (lengths[number] or redis.call('XLEN', key)) + 1
  if length > 2 * tonumber(limit) then
    length = tonumber(limit)
    redis.call('XADD', key, 'MAXLEN', length, '*', ITEM.run, run, ITEM.step, step, ITEM.attempt, attempt, ITEM.at, at, ...)
  else
    redis.call('XADD', key, '*', ITEM.run, run, ITEM.step, step, ITEM.attempt, attempt, ITEM.at, at, ...)
  end
  lengths[number] = length
end

-- What the step, or the body, has emitted before; a new attempt is announced to the streams of those before it.
local function read_emitter()
  if step == '' then
    return { count = tonumber(redis.call('HGET', KEY.execution(id), FIELD.emitted) or 0) }
  end
  local packed = redis.call('HGET', KEY.emitters(id, scope), step)
  local emitter = packed and cmsgpack.unpack(packed) or { token = token, count = 0, streams = {} }
  if emitter.token ~= token then
    emitter.token, emitter.count = token, 0
    for stream, number in pairs(emitter.streams) do
      numbers[stream] = number
      add_item(number)
    end
  end
  return emitter
end

local function write_emitter(emitter)
  if step == '' then
    redis.call('HSET', KEY.execution(id), FIELD.emitted, emitter.count)
  else
    redis.call('HSET', KEY.emitters(id, scope), step, cmsgpack.pack(emitter))
  end
end

local function emit(emitter, kind, key, value)
  if kind == EMISSION.item then
    local number = number_of_stream(key)
    add_item(number, ITEM.value, value)
    if emitter.streams then
      emitter.streams[key] = number
    end
  elseif kind == EMISSION.value then
    redis.call('HSET', KEY.values(id), key, value)
  else
    redis.call('HSET', KEY.execution(id), FIELD.progress, value)
  end
end

local emitter = read_emitter()
local number = tonumber(first)
for i = 13, #ARGV, 3 do
  if number > emitter.count then
    emit(emitter, ARGV[i], ARGV[i + 1], ARGV[i + 2])
    emitter.count = number
  end
  number = number + 1
end
write_emitter(emitter)
for stream in pairs(numbers) do
  redis.call('PUBLISH', CHANNEL.stream(id), stream)
end
return 'done'
