-- Keeps which sessions are a user's, for clustersession.node.store_users. This follows merge.lua in
-- the library.
--
-- The index of a user is a sorted set. A member is the stamp of the login, 48 digits, and the
-- session's key; its score is when the session ends if nobody uses it, in milliseconds. The set lasts
-- as long as its last member. Who reads it compares each member with the session.

-- Names a session until then; a later time counts. Answers DONE when the member is new or lasts longer,
-- else SAME.
local function name_until(key, member, until_ms, now)
  until_ms = math.min(until_ms, LATEST_MS)
  if until_ms < now then return SAME end
  local changed = redis.call('ZADD', key, 'GT', 'CH', string.format('%.0f', until_ms), member)
  if changed == 0 then return SAME end
  local last = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')
  redis.call('PEXPIREAT', key, string.format('%.0f', tonumber(last[2])))
  return DONE
end

-- keys: the user's index. args: a member, and its milliseconds. What is over by this clock goes.
-- Answers as name_until.
local function enter(keys, args)
  local key, now = keys[1], now_ms()
  local gone = redis.pcall('ZREMRANGEBYSCORE', key, '-inf', '(' .. string.format('%.0f', now))
  if type(gone) == 'table' and gone.err then
    -- As in a merge: what is no index would stand in the way for ever.
    if not string.find(gone.err, 'WRONGTYPE', 1, true) then return gone end
    redis.call('DEL', key)
  end
  return name_until(key, args[1], tonumber(args[2]), now)
end

-- An entry is small, there is one for each login that a host holds, and it goes with the session: it
-- is taken where the server is full, so that no session is there without.
redis.register_function{
  function_name = 'clustersession4_enter', callback = enter, flags = {'allow-oom'}}
