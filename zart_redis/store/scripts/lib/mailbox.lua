-- The mailbox of an id: messages wait in it until a body receives them, over all runs. The oldest message of a channel
-- goes to the call that has waited for one longest. Messages and calls are members of sorted sets whose scores are all 0:
-- those of a channel are next to each other, in the order of their numbers.

local function next_in_mailbox(id)
  return string.format(LAYOUT.message_number, redis.call('HINCRBY', KEY.mailbox(id), MAILBOX.number, 1))
end

-- The first member of a channel. Names hold no control characters: those of other channels are not between these.
local function first_of_channel(key, channel)
  local from, to = '[' .. channel .. LAYOUT.key_separator, '(' .. channel .. ' '
  return redis.call('ZRANGEBYLEX', key, from, to, 'LIMIT', 0, 1)[1]
end

local function in_channel(channel, number, rest)
  return channel .. LAYOUT.key_separator .. number .. rest
end

-- The number, and what follows it, of a member of a channel.
local function split_member(channel, member)
  local at = #channel + 1 + SIZE.message_number
  return string.sub(member, #channel + 2, at), string.sub(member, at + 1)
end

-- The deadline, the number and the channel of a wait for a message.
local function parse_receive(record)
  return string.match(record, '^.(%d*),(%d+),(.*)$')
end

-- The number, the channel and the payload of a record of a message, which is stamped.
local function parse_message(record)
  local number = string.sub(record, 2, 1 + SIZE.message_number)
  local separator = string.find(record, LAYOUT.key_separator, 2, true)
  local channel = string.sub(record, 2 + SIZE.message_number, separator - 1)
  return number, channel, string.sub(record, separator + 1, #record - SIZE.stamp)
end

local function put_message(id, channel, number, payload)
  redis.call('ZADD', KEY.messages(id), 0, in_channel(channel, number, payload))
  redis.call('HINCRBY', KEY.mailbox(id), MAILBOX.bytes, #payload)
end

-- Ends the wait of a receiver.
local function leave_receivers(id, name, record)
  local _, number, channel = parse_receive(record)
  redis.call('ZREM', KEY.receivers(id), in_channel(channel, number, name))
end

-- The one that has waited longest for a message of a channel, or nil. Some may be left over from an earlier run.
local function next_receiver(id, x, channel)
  while true do
    local member = first_of_channel(KEY.receivers(id), channel)
    if not member then
      return
    end
    redis.call('ZREM', KEY.receivers(id), member)
    local number, name = split_member(channel, member)
    local record = redis.call('HGET', KEY.records(id, x.scope), name)
    if record and kind_of(record) == RECORD.receive and select(2, parse_receive(record)) == number then
      return name
    end
  end
end

-- Records a message for the body that waits for it. Returns whether one does. What is overdue has been fired.
local function receive_message(id, x, channel, number, payload)
  local name = next_receiver(id, x, channel)
  if not name then
    return false
  end
  redis.call('ZREM', KEY.waits(id), WAIT.message .. name)
  local completion = next_number(id)
  local record = RECORD.message .. number .. channel .. LAYOUT.key_separator .. payload .. stamp(completion)
  redis.call('HSET', KEY.records(id, x.scope), name, record)
  announce(id, x, completion, NEWS.message, name)
  return true
end

-- Gives the messages of a channel to those who wait for them. Returns how many.
local function match_messages(id, x, channel)
  local given = 0
  while true do
    local message = first_of_channel(KEY.messages(id), channel)
    local number, payload = split_member(channel, message or '')
    if not message or not receive_message(id, x, channel, number, payload) then
      return given
    end
    redis.call('ZREM', KEY.messages(id), message)
    redis.call('HINCRBY', KEY.mailbox(id), MAILBOX.bytes, -#payload)
    given = given + 1
  end
end

-- Registers a wait for a message; the first registration fixes when it is due, and its place. Returns the channel.
local function register_receive(id, scope, name, argument)
  local record = redis.call('HGET', KEY.records(id, scope), name)
  local due, channel = string.match(argument, '^([^' .. LAYOUT.key_separator .. ']*).(.*)$')
  if not record or kind_of(record) == RECORD.unreceived then
    record = RECORD.receive .. due_at(due) .. ',' .. next_in_mailbox(id) .. ',' .. channel
    redis.call('HSET', KEY.records(id, scope), name, record)
  end
  if kind_of(record) == RECORD.receive then
    local number
    due, number, channel = parse_receive(record)
    redis.call('ZADD', KEY.waits(id), due ~= '' and due or '+inf', WAIT.message .. name)
    redis.call('ZADD', KEY.receivers(id), 0, in_channel(channel, number, name))
  end
  return channel
end

-- The body does not wait for a message any more. One that it had not received goes back to its place. Returns the channel
-- of such a message.
local function withdraw_receive(id, scope, name)
  local record = redis.call('HGET', KEY.records(id, scope), name)
  local kind, number, channel, payload = record and kind_of(record), nil, nil, nil
  if kind == RECORD.receive then
    leave_receivers(id, name, record)
  elseif kind == RECORD.message then
    number, channel, payload = parse_message(record)
    put_message(id, channel, number, payload)
  else
    return
  end
  redis.call('HSET', KEY.records(id, scope), name, RECORD.unreceived)
  return channel
end

-- Messages that a body which nobody holds has been given since it was parked go back to their places.
local function return_messages(id, x)
  if owner_of(x.fence) or redis.call('EXISTS', KEY.mailbox(id)) == 0 then
    return
  end
  local parked_at = tonumber(redis.call('HGET', KEY.execution(id), FIELD.parked_at) or math.huge)
  local records = redis.call('HGETALL', KEY.records(id, x.scope))
  for i = 1, #records, 2 do
    if kind_of(records[i + 1]) == RECORD.message and number_of(records[i + 1]) > parked_at then
      withdraw_receive(id, x.scope, records[i])
    end
  end
end
