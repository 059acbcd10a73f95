-- set_token: adds a token of the HTTP API, unless there is one of this name, or removes it.
--
-- takes: name, token
--   token: JSON of its digest, its scopes and when it was made; '' removes it
-- returns: 'set' | 'taken' if another token has the name | 'missing' if there is none to remove
-- emits: nothing
-- repeat: same — the same token is set again; only the reply to a removal differs
-- confirm: yes — the caller relies on it
-- memory: allow
local name, token = unpack(ARGV, 2)
if token == '' then
  return redis.call('HDEL', KEY.tokens, name) == 1 and 'set' or 'missing'
end
redis.call('HSETNX', KEY.tokens, name, token)
return redis.call('HGET', KEY.tokens, name) == token and 'set' or 'taken'
