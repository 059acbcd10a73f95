-- Records and events as bytes; see `layout`.

-- What follows a completion and a note: the number of the completion in its run, 0 if it needs none, and the time in
-- ms. It is short, so that small records stay small.
local function stamp(number)
  return struct.pack(LAYOUT.stamp, number or 0, now())
end

local function stamped_at(record)
  return struct.unpack(LAYOUT.time, record, #record - SIZE.stamp + 1 + SIZE.number)
end

local function kind_of(record)
  return string.sub(record, 1, 1)
end

local function has_child_completed(record)
  return string.sub(record, 2, 2) == CHILD_OUTCOME.completed
end

local function is_failure(record)
  local kind = kind_of(record)
  return kind == RECORD.error or kind == RECORD.failure or kind == RECORD.timed_out
    or kind == RECORD.no_message or (kind == RECORD.child and not has_child_completed(record))
end

local function is_success(record)
  local kind = kind_of(record)
  return kind == RECORD.value or kind == RECORD.capture or kind == RECORD.slept or kind == RECORD.message
    or (kind == RECORD.child and has_child_completed(record))
end

local function is_final_record(record)
  local kind = kind_of(record)
  return is_success(record) or is_failure(record) or kind == RECORD.fired
end

-- When a pending record of a sleep or a wait is due; nil if never.
local function due_of(record)
  return tonumber(string.sub(record, 2))
end

local function number_of(record)
  return struct.unpack(LAYOUT.number, record, #record - SIZE.stamp + 1)
end

local function event_number(event)
  return struct.unpack(LAYOUT.number, event, SIZE.nonce + 2)
end

local function delivered_at(event)
  return struct.unpack(LAYOUT.time, event, SIZE.nonce + 2 + SIZE.number)
end

local function with_number(event, number)
  return string.sub(event, 1, SIZE.nonce + 1) .. struct.pack(LAYOUT.number, number)
    .. string.sub(event, SIZE.nonce + 2 + SIZE.number)
end
