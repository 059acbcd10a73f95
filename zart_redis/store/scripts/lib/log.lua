-- The log of failed attempts that were followed by another: the newest entries. Their number is kept in the execution.

local NEWEST_ATTEMPTS = 200

local function log_attempt(id, scope, note)
  if note ~= '' then
    local key = KEY.attempts(id, scope)
    local length = redis.pcall('RPUSH', key, note .. stamp()) -- pcall: a corrupt log must not block the transition
    if type(length) == 'number' and length > NEWEST_ATTEMPTS then
      redis.call('LTRIM', key, -NEWEST_ATTEMPTS, -1)
    end
    redis.call('HINCRBY', KEY.execution(id), FIELD.failed_attempts, 1)
  end
end
