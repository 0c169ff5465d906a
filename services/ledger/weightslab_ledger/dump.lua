-- All keys of one experiment with their values, at one moment. KEYS: any key of its slot. ARGV: pattern, lease.
-- The lease is left out: it is true for seconds only.
local found = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  if key ~= ARGV[2] then
    found[#found + 1] = key
    found[#found + 1] = redis.call('DUMP', key)
  end
end
return found
