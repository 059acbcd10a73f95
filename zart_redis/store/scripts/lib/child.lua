-- A scheduled step that has not ended: one field of c:<id>:<scope>, name -> packed state.
--
-- spec      what to call, as the engine encoded it
-- entry     its stream entry, '' while a retry timer holds it
-- fence     "<epoch>@<worker>", as for a body; a step that is scheduled anew begins at 0, so what its worker shows is
--           the fence and the entry
-- attempts  attempts that have failed; deadline: ms or ''; timeout: ms or ''; crashes: claims that killed their worker
-- held      the pause rule that holds it, or ''
-- why       why a worker that cannot run it has put it off, or ''

local function read_child(id, scope, name)
  local packed = redis.call('HGET', P .. 'c:' .. id .. ':' .. scope, name)
  if not packed then
    return nil
  end
  local v = cmsgpack.unpack(packed)
  return { spec = v[1], entry = v[2], fence = v[3], attempts = v[4], deadline = v[5], timeout = v[6], crashes = v[7],
    held = v[8] or '', why = v[9] or '' }
end

local function write_child(id, scope, name, c)
  redis.call('HSET', P .. 'c:' .. id .. ':' .. scope, name,
    cmsgpack.pack({ c.spec, c.entry, c.fence, c.attempts, c.deadline, c.timeout, c.crashes, c.held or '', c.why or '' }))
end

local function enqueue_child(queue, id, scope, name, mark)
  return add_entry(queue, mark or '', 's', id, 'scope', scope, 'name', name)
end

-- How timers and pause rules name it.
local function child_member(id, scope, name)
  return 's' .. cjson.encode({ id, scope, name })
end

-- The execution has ended without them: their entries, timers and claims go.
local function drop_children(id, x)
  local key = P .. 'c:' .. id .. ':' .. x.scope
  for _, name in ipairs(redis.call('HKEYS', key)) do
    local readable, c = pcall(read_child, id, x.scope, name)
    if not readable then
      -- damaged: nothing says where its entry is, and a worker that finds it will drop it
    elseif c.held ~= '' then
      redis.call('ZREM', P .. 'held:' .. c.held, child_member(id, x.scope, name))
    elseif c.entry == '' then
      redis.call('ZREM', P .. 'timers', child_member(id, x.scope, name))
    else
      signal_owner(c.fence, 'drop', c.entry)
      forget_entry(x.queue, c.entry)
    end
  end
  redis.call('DEL', key)
end
