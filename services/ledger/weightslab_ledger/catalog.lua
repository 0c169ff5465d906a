-- Append a part of the catalog. KEYS: fence, catalog. ARGV: token, parts that are there, record.
if (redis.call('GET', KEYS[1]) or '0') ~= ARGV[1] then
  return 'another ledger owns the experiment'
end
local count = redis.call('LLEN', KEYS[2])
if count == tonumber(ARGV[2]) + 1 and redis.call('LINDEX', KEYS[2], -1) == ARGV[3] then
  -- The answer to the first attempt was lost.
  return 'OK'
end
if count ~= tonumber(ARGV[2]) then
  return 'the catalog has ' .. count .. ' parts, not ' .. ARGV[2]
end
redis.call('RPUSH', KEYS[2], ARGV[3])
return 'OK'
