-- Events: e:<id>:<run> holds name -> nonce (8 bytes), 'D' or 'B', when it came (6), payload.

local function event_time(event)
  return struct.unpack('>I6', event, 10)
end

-- Whether it came before the deadline of a wait: 'w<deadline>', or 'w' for none.
local function in_time(event, wait)
  local due = tonumber(string.sub(wait, 2))
  return not due or event_time(event) < due
end
