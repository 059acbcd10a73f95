-- set_session: begins a session of the HTTP API, or ends it.
--
-- takes: digest, session, lifetime
--   digest: of the session's secret
--   session: JSON of the name and the digest of its token; '' ends it
--   lifetime: ms
-- returns: 'set'
-- emits: nothing
-- repeat: same — the same session is set again
-- confirm: no — who loses a session logs in again
-- memory: allow
local digest, session, lifetime = unpack(ARGV, 2)
if session == '' then
  redis.call('DEL', KEY.session(digest))
else
  redis.call('SET', KEY.session(digest), session, 'PX', lifetime)
end
return 'set'
