-- send: a message for an execution, which may be started by it. It waits in the mailbox of the id until it is received.
--
-- takes: id, channel, payload, key, keep, most, most_bytes, start...
--   key: identifies the message; a message with the same key changes nothing
--   keep: for how many ms the key is kept; '' for as long as the id
--   most, most_bytes: how many messages, and bytes, may wait in the mailbox
--   start: what `start` takes behind the id, without options and delay, if a run is to begin where none is live: task,
--     queue, input, timeout, nonce, limits
-- returns: 'sent' | 'missing' | 'full' | {'finished', status} | {'needs', features} | 'again'
-- emits: the body's stream entry, if it waits for a message of this channel, or that of the run that begins; a timer
-- repeat: same — the key of the message is known
-- confirm: yes — the caller relies on it
-- memory: reject
local id, channel, payload, key, keep, most, most_bytes = unpack(ARGV, 2, 8)
local x = read_execution(id)
local may_start = #ARGV > 8
if x.status ~= '' and redis.call('ZSCORE', KEY.message_ids(id), key) then
  return 'sent'
elseif not is_live(x.status) and not may_start then
  return x.status == '' and 'missing' or { 'finished', x.status }
elseif not is_live(x.status) and is_beyond_us(x.needs) then
  return { 'needs', x.needs }
elseif redis.call('ZCARD', KEY.messages(id)) >= tonumber(most)
  or tonumber(redis.call('HGET', KEY.mailbox(id), MAILBOX.bytes) or 0) + #payload > tonumber(most_bytes) then
  return 'full'
end

local function begin()
  local task, queue, input, timeout, nonce, limits = ARGV[9], ARGV[10], ARGV[11], ARGV[12], ARGV[13], ARGV[14]
  local number, fence, created, before = next_run(id, x.status ~= '' and x.run)
  x = begin_run(id, { number = number, fence = fence, created = created, before = before, task = task, queue = queue,
    input = input, nonce = nonce, trigger = '', triggered_by = '', delay = '', timeout = timeout,
    limits = limits ~= '' and limits or nil })
  if timeout ~= '' then
    reschedule_timer(id, x)
  end
end

if not is_live(x.status) then
  begin()
elseif not catch_up(id, x) then
  return 'again'
end
redis.call('ZREMRANGEBYSCORE', KEY.message_ids(id), '-inf', now())
redis.call('ZADD', KEY.message_ids(id), keep ~= '' and in_ms(keep) or '+inf', key)
put_message(id, channel, next_in_mailbox(id), payload)
if x.scope and match_messages(id, x, channel) > 0 then
  wake(id, x)
  reschedule_timer(id, x)
end
return 'sent'
