-- Give a lease back, unless it is another's by now.
--
-- KEYS[1]  <prefix>:lease:<name>   holds the owner's name
-- ARGV[1]  the owner
--
-- Returns 1 when the lease was the owner's, 0 when it was not.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
