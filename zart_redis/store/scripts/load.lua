-- load: all that is recorded of a body, for a worker that no longer keeps what it parked.
--
-- takes: id, fence, scope
-- returns: {records, events, names of scheduled steps, waits with their due times, number of the newest completion} |
--   'fenced'
-- emits: nothing
-- repeat: same — what is deleted is registered or known again
-- confirm: no — the pass begins with it
-- memory: none
local id, fence, scope = unpack(ARGV, 2)
local x = read_execution(id)
if x.fence ~= fence or x.scope ~= scope then
  return 'fenced'
end
redis.call('DEL', KEY.groups(id), KEY.news(id)) -- the pass registers its groups again, and knows all completions
local body = read_recorded(id, x)
return { body.records, body.events, body.steps, body.waits, body.completions }
