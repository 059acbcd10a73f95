-- restart: any state -> scheduled, in a new run without records. A body of the old run is fenced off.
--
-- takes: id, input, same_input, timeout, nonce, triggered_by
--   same_input: '1' to use the input of the old run
--   timeout: ms; '' for none
-- returns: {'restarted', run} | 'missing' | {'needs', features}
-- emits: a stream entry; the final status to those who wait for the old run; a revoke to the worker that holds it;
--   a stream entry for what gets its slots
-- repeat: nonce — the nonce of the run returns its number again
-- confirm: yes — the caller relies on it
-- memory: reject
local id, input, same_input, timeout, nonce, triggered_by = unpack(ARGV, 2)
local x = read_execution(id)
if x.status == '' then
  return 'missing'
end
local old = read_fields(id, { FIELD.task, FIELD.input, FIELD.nonce })
if old.nonce == nonce then
  return { 'restarted', x.run }
elseif is_beyond_us(x.needs) then
  return { 'needs', x.needs }
end
if is_live(x.status) then
  abort_run(id, x)
end
local before = archive(id)
local number = tonumber(x.run) + 1
x = begin_run(id, { number = number, fence = next_fence(x.fence, ''), task = old.task, queue = x.queue,
  input = same_input == '1' and old.input or input, nonce = nonce, trigger = TRIGGER.restart,
  triggered_by = triggered_by, delay = '', timeout = timeout,
  before = before, tags = before.tags, parent = before.parent })
if timeout ~= '' then
  reschedule_timer(id, x)
end
return { 'restarted', number }
