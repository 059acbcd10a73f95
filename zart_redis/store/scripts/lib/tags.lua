-- The index of tags.

local function add_tags(id, created, packed)
  for tag, value in pairs(cmsgpack.unpack(packed)) do
    redis.call('ZADD', KEY.tag(tag, value), created, id)
  end
end

-- Whether all of them are in the index.
local function has_tags(id, packed)
  for tag, value in pairs(cmsgpack.unpack(packed)) do
    if not redis.call('ZSCORE', KEY.tag(tag, value), id) then
      return false
    end
  end
  return true
end

local function remove_tags(id, packed)
  for tag, value in pairs(cmsgpack.unpack(packed)) do
    redis.call('ZREM', KEY.tag(tag, value), id)
  end
end
