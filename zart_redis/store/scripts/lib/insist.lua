-- Work that has begun is let through though Redis's memory is full, since only its end frees any: Redis refuses a
-- script for lack of memory at its first write, and only if that one may need memory, which DEL does not.

redis.call('DEL', P .. 'void')
