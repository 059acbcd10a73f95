--@include base insist
-- purge: finished executions disappear with all that they own: those whose retention has passed, or those named.
--
-- ARGV    how many at most, then ids (none: by retention)
-- answer  how many went
local gone = {}
if #ARGV == 2 then
  gone = redis.call('ZRANGEBYSCORE', P .. 'expiring', '-inf', now(), 'LIMIT', 0, tonumber(ARGV[2]))
else
  for i = 3, #ARGV do
    -- Only what is finished has a place among the expiring.
    if redis.call('ZSCORE', P .. 'expiring', ARGV[i]) then
      gone[#gone + 1] = ARGV[i]
    end
  end
end
local highest = tonumber(redis.call('GET', P .. 'epoch') or 0)

-- Of each run there is a number: the present one's in x:, the earlier ones' in h:. What is no hash has none.
local function remove(id)
  local x = redis.pcall('HMGET', P .. 'x:' .. id, 'run', 'status', 'facet', 'fence')
  highest = math.max(highest, tonumber(string.match(x[4] or '', '^%d+') or 0))
  local runs = redis.pcall('HKEYS', P .. 'h:' .. id)
  if runs.err then
    runs = {}
  end
  runs[#runs + 1] = x[1] or nil
  for _, run in ipairs(runs) do
    run = string.match(run, '^%d+$') or '0'
    for _, scope in ipairs({ run, run .. 'f' }) do
      redis.call('UNLINK', P .. 'r:' .. id .. ':' .. scope, P .. 'a:' .. id .. ':' .. scope)
    end
    redis.call('UNLINK', P .. 'e:' .. id .. ':' .. run)
  end
  if x[2] and x[3] then
    redis.call('ZREM', P .. 'i:' .. x[2] .. ':' .. x[3], id)
  end
  redis.call('UNLINK', P .. 'x:' .. id, P .. 'h:' .. id)
  redis.call('ZREM', P .. 'expiring', id)
  redis.call('ZREM', P .. 'ids', id)
  redis.call('HDEL', P .. 'damaged', id)
end

for _, id in ipairs(gone) do
  remove(id)
end
if highest > 0 then
  redis.call('SET', P .. 'epoch', string.format('%d', highest))
end
return #gone
