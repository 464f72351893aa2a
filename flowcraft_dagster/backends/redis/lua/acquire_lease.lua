-- Take a lease, or make one's own last longer.
--
-- KEYS[1]  <prefix>:lease:<name>   holds the owner's name
-- ARGV[1]  the owner
-- ARGV[2]  how long it lasts from now, in milliseconds
--
-- Returns 1 when the lease is the owner's now, 0 when it is another's.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
