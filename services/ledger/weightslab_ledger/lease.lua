-- Take or keep the ownership of an experiment.
-- KEYS: lease, fence. ARGV: owner, token held (0 for none), life in ms.
-- Returns the token under which the owner holds it, or 0 when another holds it.
local holder = redis.call('GET', KEYS[1])
local fence = tonumber(redis.call('GET', KEYS[2]) or '0')
local held = tonumber(ARGV[2])
if held > 0 then
  if fence ~= held or (holder and holder ~= ARGV[1]) then
    return 0
  end
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
  return held
end
if holder then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return redis.call('INCR', KEYS[2])
