-- All that is recorded of a body.

local function read_recorded(id, x)
  return { records = redis.call('HGETALL', KEY.records(id, x.scope)), events = redis.call('HGETALL', KEY.events(id, x.run)),
    steps = redis.call('HKEYS', KEY.steps(id, x.scope)), waits = redis.call('ZRANGE', KEY.waits(id), 0, -1, 'WITHSCORES'),
    completions = redis.call('HGET', KEY.execution(id), FIELD.completions) or '0' }
end
