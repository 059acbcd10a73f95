--@include base insist timers
-- resume: removes a rule. What it holds goes on: `due` lets it go, in bounded lots.
--
-- ARGV    rule
-- answer  1 if it was there, else 0
local gone = redis.call('HDEL', P .. 'rules', ARGV[2])
if gone == 1 then
  set_timer('r' .. ARGV[2], now())
  redis.call('PUBLISH', P .. 'rules', ARGV[2])
end
return gone
