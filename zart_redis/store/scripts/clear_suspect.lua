-- clear_suspect: a suspect has run for longer than before its worker's death, or recorded something: it may finish, and its
-- quarantine process may take the next one.
--
-- takes: id, fence, scope, name
--   name: of a scheduled step; '' for a body
-- returns: 'cleared' | 'fenced'
-- emits: nothing
-- repeat: same — it is cleared already
-- confirm: no — one that is lost is a suspect again when its worker dies
-- memory: allow
--
-- The deaths that count stay, until it makes progress.
local id, fence, scope, name = unpack(ARGV, 2)

-- Returns the packed map without the mark.
local function cleared(packed)
  local blame = read_blame(packed)
  if not blame[BLAME.suspect] then
    return packed
  end
  blame[BLAME.suspect], blame[BLAME.together] = nil, {}
  return cmsgpack.pack(blame)
end

if name == '' then
  local x = read_execution(id)
  if x.fence ~= fence or x.scope ~= scope then
    return 'fenced'
  elseif x.blame ~= '' then
    redis.call('HSET', KEY.execution(id), FIELD.blame, cleared(x.blame))
  end
  return 'cleared'
end
local step = read_step(id, scope, name)
if not step or step.fence ~= fence then
  return 'fenced'
elseif step.blame then
  step.blame = cleared(step.blame)
  write_step(id, scope, name, step)
end
return 'cleared'
