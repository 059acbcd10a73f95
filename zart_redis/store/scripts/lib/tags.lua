-- The index of tags.

local function add_tags(id, created, packed)
  for tag, value in pairs(cmsgpack.unpack(packed)) do
    redis.call('ZADD', KEY.tag(tag, value), created, id)
  end
end

local function remove_tags(id, packed)
  for tag, value in pairs(cmsgpack.unpack(packed)) do
    redis.call('ZREM', KEY.tag(tag, value), id)
  end
end
