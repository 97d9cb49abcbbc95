-- Tells that a node lives, and says who else does. This follows merge.lua in the library.
--
-- members is a hash: for each node the milliseconds of its last beat by this server's clock, a colon,
-- and what it tells. memory is drawn when it is not there: whoever finds another one knows that the
-- server has forgotten what it had. cursor is how far the server has the node's feed.
--
-- Who reads all that all tell, at each beat, makes the cost grow by the square of the nodes. So
-- pulse, a sorted set, has for each node when it has beaten, and its edition: the node raises it when
-- it tells something else than the time. edition is how many members there were, and a name drawn
-- whenever one came, went or told something else. A node that knows it is answered how long the most
-- silent has been silent. Libraries of before write members alone; while one of their nodes is in
-- there, everybody is answered everything.

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


-- The entry of a node that has left, or is silent for too long to be waited for: its edition is the
-- last beat, below zero. None of those is looked for.
local function gone_entry(node, beaten)
  return string.format('%s:-%.0f', node, beaten)
end

-- Notes that a node has beaten. Answers whether it is new, or tells something else.
local function note(pulse, entry, score)
  local added = redis.pcall('ZADD', pulse, score, entry)
  if type(added) ~= 'number' then
    if string.find(added.err, 'WRONGTYPE', 1, true) then redis.call('DEL', pulse) end
    added = redis.call('ZADD', pulse, score, entry)
  end
  return added == 1
end

-- Reads pulse: for each node its entry, its score and its edition. What no node has written goes, and
-- what the caller has told before.
local function read_pulse(pulse, node, entry)
  local noted = {}
  local flat = redis.call('ZRANGE', pulse, 0, -1, 'WITHSCORES')
  for at = 1, #flat, 2 do
    local name, edition = string.match(flat[at], '^(%x+):(%-?%d+)$')
    if not name or noted[name] or (name == node and flat[at] ~= entry) then
      redis.call('ZREM', pulse, flat[at])
    else
      noted[name] = {entry = flat[at], score = tonumber(flat[at + 1]), edition = tonumber(edition)}
    end
  end
  return noted
end

-- Compares what pulse has of a node with its last beat. Answers 1 when it would be missed, else 0;
-- whether that is new; and whether an older library has noted the beat.
local function follow(pulse, name, mine, beaten, now, gone_ms)
  if not mine then return 0, false, true end
  local is_gone = mine.edition < 0
  if is_gone and -mine.edition ~= beaten or not is_gone and mine.score ~= beaten then
    redis.call('ZREM', pulse, mine.entry)
    return 0, false, true
  end
  if is_gone or now - beaten <= gone_ms then return is_gone and 0 or 1, false, false end
  redis.call('ZREM', pulse, mine.entry)
  redis.call('ZADD', pulse, '+inf', gone_entry(name, beaten))
  return 0, true, false
end

-- Answers what all others have told, whether there is a change among them, and whether there are
-- nodes of an older library.
local function look(keys, node, entry, now, silent_ms, gone_ms)
  local members, pulse = keys[1], keys[5]
  local others, is_changed, has_older = {}, false, false
  local noted = read_pulse(pulse, node, entry)
  local flat = redis.call('HGETALL', members)
  for at = 1, #flat, 2 do
    local name, value = flat[at], flat[at + 1]
    local digits, rest = string.match(value, '^(%d+):(.*)$')
    local beaten, mine = tonumber(digits or '0'), noted[name]
    if name ~= node then
      if digits and beaten > now then
        -- Another clock, since a failover: from now on this one counts.
        redis.call('HSET', members, name, string.format('%.0f:', now) .. rest)
        if mine and mine.edition >= 0 and mine.score == beaten then
          redis.call('ZADD', pulse, string.format('%.0f', now), mine.entry)
          mine.score = now
        end
        beaten = now
      end
      if now - beaten > silent_ms or #value > TOLD_BYTES_MAX then
        redis.call('HDEL', members, name)
      else
        noted[name] = nil
        local followed, is_new, is_older = follow(pulse, name, mine, beaten, now, gone_ms)
        is_changed, has_older = is_changed or is_new, has_older or is_older
        others[#others + 1] = {name, now - beaten, rest, followed}
      end
    end
  end
  noted[node] = nil
  for _, mine in pairs(noted) do
    -- Somebody has removed it from members.
    redis.call('ZREM', pulse, mine.entry)
    is_changed = is_changed or mine.edition >= 0
  end
  return others, is_changed, has_older
end

-- Answers for how long the most silent has been silent; nil when somebody is late, or ahead.
local function silence(pulse, now, late_ms)
  local last = redis.call('ZRANGE', pulse, 0, 0, 'WITHSCORES')
  local silent_ms = now - tonumber(last[2])
  local ahead = redis.call('ZRANGE', pulse, string.format('(%.0f', now), '(+inf', 'BYSCORE',
    'LIMIT', 0, 1)
  if silent_ms >= 0 and silent_ms <= late_ms and #ahead == 0 then return silent_ms end
end

-- keys: members, memory, the node's cursor, how far its workers have carried its feed, pulse, and
-- edition. args: the node; what it tells; after how many milliseconds who is silent is dropped; a
-- name, to be taken for a memory or an edition; for how many milliseconds the cursor is kept; the
-- number of what the node tells, or nothing when it leaves; the edition that it knows; after how many
-- milliseconds it wants to hear of who is silent, and after how many no more.
-- Answers: this clock's milliseconds, the memory, the cursor or false; for each other node its name,
-- how many milliseconds ago it has beaten, what it told, and 1 when its silence would be told, or in
-- the place of all that the milliseconds of the longest silence; how far was carried, or false; and
-- the edition.
local function beat(keys, args)
  local members, memory, cursor, carried, pulse, edition = unpack(keys)
  local node, told, silent_ms = args[1], args[2], tonumber(args[3])
  local now, leaves = now_ms(), args[6] == ''
  -- Whoever lives is back with its next beat.
  claim(members, 'HLEN', MEMBERS_MAX)
  for _, text in ipairs({memory, cursor, carried, edition}) do
    claim(text, 'STRLEN', TEXT_BYTES_MAX)
  end
  redis.call('HSET', members, node, string.format('%.0f:', now) .. told)
  local entry = leaves and gone_entry(node, now) or node .. ':' .. args[6]
  local is_new = note(pulse, entry, leaves and '+inf' or string.format('%.0f', now))
  local kept = redis.call('GET', edition) or ''
  local count, name = string.match(kept, '^(%d+):(.+)$')
  local others = nil
  if not is_new and name == args[7] and tonumber(count) == redis.call('HLEN', members) then
    others = silence(pulse, now, tonumber(args[8]))
  end
  if not others then
    local is_changed, has_older
    others, is_changed, has_older = look(keys, node, entry, now, silent_ms, tonumber(args[9]))
    name = (is_new or is_changed or not name) and args[4] or name
    -- No members at all are fewer than there are.
    count = has_older and 0 or redis.call('HLEN', members)
    local keeps = string.format('%.0f:', count) .. name
    if keeps ~= kept then redis.call('SET', edition, keeps) end
  end
  redis.call('SET', memory, args[4], 'NX')
  redis.call('PEXPIRE', cursor, args[5])
  redis.call('PEXPIRE', carried, args[5])
  return {now, redis.call('GET', memory), redis.call('GET', cursor), others,
    redis.call('GET', carried), name}
end

-- keys: the node's cursor. args: what is kept, and for how many milliseconds.
local function keep(keys, args)
  return redis.call('SET', keys[1], args[1], 'PX', args[2])
end

-- Both are small, and go on where the server is full.
redis.register_function{
  function_name = 'clustersession4_beat', callback = beat, flags = {'allow-oom'}}
redis.register_function{
  function_name = 'clustersession4_keep', callback = keep, flags = {'allow-oom'}}
