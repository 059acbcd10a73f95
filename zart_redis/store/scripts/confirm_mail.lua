-- confirm_mail: mail has been delivered, and is deleted.
--
-- takes: numbers
--   numbers: a comma behind each
-- returns: 'confirmed'
-- emits: nothing
-- repeat: same — what is deleted stays deleted
-- confirm: no — mail that comes back is delivered again, without effect
-- memory: allow
local numbers = unpack(ARGV, 2)
for number in string.gmatch(numbers, '%d+') do
  redis.call('ZREM', KEY.timers, TIMER.mail .. number)
  redis.call('HDEL', KEY.mail, number)
end
return 'confirmed'
