-- Work that cannot be read is set aside, so that it does not block the rest. Its keys stay as they are, for `doctor` and
-- for the operator who repairs them.

-- Errors that say nothing about the data; they end the whole script.
local SERVER_ERRORS = { 'OOM ', 'NOPERM', 'READONLY', 'MISCONF', 'NOREPLICAS', 'killed by user',
  'The user executing the script' }

-- Calls f(...). Returns nil, or the text of the error that it raised.
local function failure_of(f, ...)
  local done, problem = pcall(f, ...)
  if done then
    return nil
  end
  local why = type(problem) == 'table' and problem.err or tostring(problem)
  for _, word in ipairs(SERVER_ERRORS) do
    if string.find(why, word, 1, true) then
      error(problem)
    end
  end
  return why
end

local function set_aside(id, why)
  redis.call('HSET', KEY.damaged, id, why)
end

-- The same for a body. If nothing will bring it up again, it gives back the slots of its limits.
local function set_body_aside(id, why)
  set_aside(id, why)
  pcall(function()
    local x = read_execution(id)
    if x.limits ~= '' and (x.entry == '' or not read_entry(x.queue, x.entry)) then
      leave_limits(id, x)
    end
  end)
end
