-- delete_orphans: finds keys that belong to no run of any execution, and deletes them if asked.
--
-- takes: remove, keys...
--   remove: '1' to delete them
--   keys: triples (key without the prefix, id, run or '' if the key is not of one run)
-- returns: those keys that belong to nothing; keys that were deleted since they were listed are skipped
-- emits: nothing
-- repeat: same — what is gone stays gone
-- confirm: yes — the caller reports it as done
-- memory: none
local remove = unpack(ARGV, 2, 2)
local found = {}

local function has_owner(key, id, run)
  if redis.call('ZSCORE', KEY.timers, dropped_member(key)) then
    return true -- dropped steps, which are still to be removed
  end
  local last = redis.pcall('HGET', KEY.execution(id), FIELD.run)
  if type(last) == 'table' then
    return true -- of a damaged execution
  end
  return last and (run == '' or not tonumber(last) or tonumber(last) >= (tonumber(run) or math.huge))
end

for i = 3, #ARGV, 3 do
  local key = P .. ARGV[i]
  if not has_owner(key, ARGV[i + 1], ARGV[i + 2]) and redis.call('EXISTS', key) == 1 then
    found[#found + 1] = ARGV[i]
    if remove == '1' then
      redis.call('UNLINK', key)
    end
  end
end
return found
