-- What begins something new is refused while Redis's memory is full, before it has changed anything: Redis looks at its
-- memory at the first write of a script that may need some. LPUSHX may, and does nothing where there is no list.

redis.call('LPUSHX', P .. 'void', '')
