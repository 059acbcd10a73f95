-- What cannot be read is set aside and named, so that it cannot stand in the way of the others: damaged maps an
-- execution's id to why. Its keys are left as they are, for `doctor` and for whoever mends them.

-- Errors that say nothing about the data: they end the whole script.
local SERVER_ERRORS = { 'OOM ', 'NOPERM', 'READONLY', 'MISCONF', 'NOREPLICAS', 'killed by user',
  'The user executing the script' }

-- Calls f(...); answers why it could not be done, in words, or nil.
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
  redis.call('HSET', P .. 'damaged', id, why)
end
