-- Tells that a node lives, and says who else does. This follows merge.lua in the library.
--
-- members is a hash: for each node the milliseconds of its last beat by this server's clock, a colon,
-- and what it tells. memory is drawn when it is not there: whoever finds another one knows that the
-- server has forgotten what it had. cursor is how far the server has the node's feed.

local MEMBERS_MAX = 1024
local TOLD_BYTES_MAX = 16384
local TEXT_BYTES_MAX = 128

-- Removes what stands in the place of one of our keys, and is none of ours: of another type, or larger.
local function claim(key, measure, size_max)
  local size = redis.pcall(measure, key)
  if type(size) ~= 'number' and not string.find(size.err, 'WRONGTYPE', 1, true) then
    -- Not allowed, say; this call says so.
    redis.call(measure, key)
  elseif type(size) ~= 'number' or size > size_max then
    redis.call('DEL', key)
  end
end

-- keys: members, memory, the node's cursor, and how far its workers have carried its feed. args: the node; what it tells; after how many
-- milliseconds who is silent is dropped; a memory, to be taken when there is none; for how many
-- milliseconds the cursor is kept.
-- Answers: this clock's milliseconds, the memory, the cursor or false, for each other node its name,
-- how many milliseconds ago it has beaten, and what it told, and how far was carried, or false.
local function beat(keys, args)
  local members, memory, cursor, carried = keys[1], keys[2], keys[3], keys[4]
  local node, told, silent_ms = args[1], args[2], tonumber(args[3])
  local now = now_ms()
  -- Whoever lives is back with its next beat.
  claim(members, 'HLEN', MEMBERS_MAX)
  claim(memory, 'STRLEN', TEXT_BYTES_MAX)
  claim(cursor, 'STRLEN', TEXT_BYTES_MAX)
  claim(carried, 'STRLEN', TEXT_BYTES_MAX)
  redis.call('HSET', members, node, string.format('%.0f:', now) .. told)
  local others = {}
  local flat = redis.call('HGETALL', members)
  for at = 1, #flat, 2 do
    local name, value = flat[at], flat[at + 1]
    local digits, rest = string.match(value, '^(%d+):(.*)$')
    local beaten = tonumber(digits or '0')
    if name ~= node then
      if digits and beaten > now then
        -- Another clock, since a failover: from now on this one counts.
        beaten = now
        redis.call('HSET', members, name, string.format('%.0f:', now) .. rest)
      end
      if now - beaten > silent_ms or #value > TOLD_BYTES_MAX then
        redis.call('HDEL', members, name)
      else
        others[#others + 1] = {name, now - beaten, rest}
      end
    end
  end
  redis.call('SET', memory, args[4], 'NX')
  redis.call('PEXPIRE', cursor, args[5])
  redis.call('PEXPIRE', carried, args[5])
  return {now, redis.call('GET', memory), redis.call('GET', cursor), others, redis.call('GET', carried)}
end

-- keys: the node's cursor. args: what is kept, and for how many milliseconds.
local function keep(keys, args)
  return redis.call('SET', keys[1], args[1], 'PX', args[2])
end

-- Both are small, and go on where the server is full.
redis.register_function{
  function_name = 'clustersession3_beat', callback = beat, flags = {'allow-oom'}}
redis.register_function{
  function_name = 'clustersession3_keep', callback = keep, flags = {'allow-oom'}}
