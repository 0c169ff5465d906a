-- Apply one edit: all of it or nothing.
-- KEYS: fence, revision, ids, log, tags, then one bitmap per change.
-- ARGV: token, edit id, revision it builds on, summary, rows changed (as the log keeps them),
--       number of created tags, the created tags, number of deleted tags, the deleted tags,
--       then per bitmap: how ('set' | 'clear' with packed uint32 rows, 'whole' with the bitmap, 'delete' with nothing), data.
-- Returns {'OK', revision}, {'KNOWN', revision of the edit with this id}, {'FENCED', 0} or {'MOVED', present revision}.
if (redis.call('GET', KEYS[1]) or '0') ~= ARGV[1] then
  return {'FENCED', 0}
end
local known = redis.call('HGET', KEYS[3], ARGV[2])
if known then
  return {'KNOWN', tonumber(known)}
end
local revision = tonumber(redis.call('GET', KEYS[2]) or '0')
if revision ~= tonumber(ARGV[3]) then
  return {'MOVED', revision}
end
revision = revision + 1
local at = 6
local created = tonumber(ARGV[at])
for i = at + 1, at + created do
  redis.call('HSET', KEYS[5], ARGV[i], revision)
end
at = at + created + 1
local deleted = tonumber(ARGV[at])
for i = at + 1, at + deleted do
  redis.call('HDEL', KEYS[5], ARGV[i])
end
at = at + deleted + 1
for k = 6, #KEYS do
  local how, data = ARGV[at], ARGV[at + 1]
  at = at + 2
  if how == 'whole' then
    redis.call('SET', KEYS[k], data)
  elseif how == 'delete' then
    redis.call('DEL', KEYS[k])
  else
    local bit = how == 'set' and 1 or 0
    for i = 1, #data, 4 do
      local a, b, c, d = string.byte(data, i, i + 3)
      redis.call('SETBIT', KEYS[k], a + b * 256 + c * 65536 + d * 16777216, bit)
    end
  end
end
redis.call('SET', KEYS[2], revision)
redis.call('HSET', KEYS[3], ARGV[2], revision)
redis.call('XADD', KEYS[4], revision .. '-0', 'summary', ARGV[4], 'rows', ARGV[5])
return {'OK', revision}
