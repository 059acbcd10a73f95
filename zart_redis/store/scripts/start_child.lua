-- start_child: begins an execution that is the child of one in another partition.
--
-- takes: child, parent, task, queue, input, timeout, limits, tags, deadline
--   parent: as the field `parent` has it
--   timeout: ms; '' for none
--   deadline: when it ends at the latest, in ms; '' if its parent has no deadline, or does not wait for it
-- returns: 'started' | {'exists', status} if the id is used by another execution
-- emits: a stream entry; a timer if it has a deadline; a revoke and the final status for an earlier child of this id
-- repeat: same — the field `parent` shows that this start has been made
-- confirm: yes — the mail that asked for it is deleted
-- memory: reject
local child, parent, task, queue, input, timeout, limits, tags, deadline = unpack(ARGV, 2, 10)
local start = parse_parent(parent).start
local status = start_child(child, parent, { task = task, queue = queue, input = input, timeout = timeout, nonce = start,
  limits = limits ~= '' and limits or nil, tags = tags ~= '' and tags or nil, deadline = deadline })
return status and { 'exists', status } or 'started'
