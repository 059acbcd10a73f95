-- The log of attempts that failed: a:<id>:<scope>, the newest entries; their number stays right in x:<id>.

local NEWEST_ATTEMPTS = 200

local function log_attempt(id, scope, note)
  if note ~= '' then
    local key = P .. 'a:' .. id .. ':' .. scope
    local length = redis.pcall('RPUSH', key, note .. stamp()) -- a log that is none stands in no one's way
    if type(length) == 'number' and length > NEWEST_ATTEMPTS then
      redis.call('LTRIM', key, -NEWEST_ATTEMPTS, -1)
    end
    redis.call('HINCRBY', P .. 'x:' .. id, 'failures', 1)
  end
end
