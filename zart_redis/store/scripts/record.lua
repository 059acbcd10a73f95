-- record: the results of steps that ran in place, and of captures. Recorded is final.
--
-- takes: items...
--   items: of seven each: id, fence, scope, ack, name, record, ordered; ordered is '1' if anything else that the body awaits
--     could complete first, and then the result gets a number
-- returns: for each item its stamp, if it was recorded | the record that was there already and is the result | 'fenced' |
--   'again' if something else of that execution must be completed first
-- emits: a wake to the worker, if something else was overdue
-- repeat: same — the first result is kept, and is returned
-- confirm: yes — the body builds on it
-- memory: own — allows by itself; this script is called most often, and only pays the price when memory is full
-- records: a result
-- batch: items
local ITEM_SIZE = 7

-- Whether Redis takes a first write although its memory is full.
local function allow_memory(f, ...)
  local result = redis.pcall(f, ...)
  if type(result) == 'table' and result.err then
    redis.call('DEL', KEY.oom_probe)
    result = redis.call(f, ...)
  end
  return result
end

local last_claim, last_caught_up = {}, nil

-- The results of one body follow each other: its claim is looked up once.
local function owns(id, fence, scope, ack)
  local last = last_claim
  if last.id ~= id or last.fence ~= fence or last.scope ~= scope or last.ack ~= ack then
    last_claim = { id = id, fence = fence, scope = scope, ack = ack, is_owned = owns_claim(id, fence, scope, ack) }
  end
  return last_claim.is_owned
end

local function record(id, fence, scope, ack, name, value, ordered)
  if not owns(id, fence, scope, ack) then
    return 'fenced'
  end
  local key, number = KEY.records(id, scope), 0
  if ordered == '1' then
    if last_caught_up ~= id and not catch_up(id, read_execution(id)) then
      return 'again'
    end
    last_caught_up = id
    number = allow_memory('HINCRBY', KEY.execution(id), FIELD.completions, 1)
  end
  local tail = stamp(number)
  if allow_memory('HSETNX', key, name, value .. tail) == 0 then
    local existing = redis.call('HGET', key, name)
    if is_final_record(existing) then
      if number > 0 and redis.call('HINCRBY', KEY.execution(id), FIELD.completions, -1) == 0 then
        redis.call('HDEL', KEY.execution(id), FIELD.completions)
      end
      return existing
    end
    redis.call('HSET', key, name, value .. tail)
  end
  return tail
end

return reply_to_items(ITEM_SIZE, record)
