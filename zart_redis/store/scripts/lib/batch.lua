-- Scripts that take the arguments of many commands, and return a reply for each.

-- An item that fails leaves the others alone.
local function reply_to_items(size, f)
  local replies = {}
  for i = 2, #ARGV, size do
    local done, reply = pcall(f, unpack(ARGV, i, i + size - 1))
    replies[#replies + 1] = done and reply or { err = type(reply) == 'table' and reply.err or tostring(reply) }
  end
  return replies
end
