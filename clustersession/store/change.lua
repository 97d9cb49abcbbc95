-- Merges what one write has changed, as a worker sends it while its user waits. This follows users.lua
-- in the library.
--
-- It looks at nothing but what such a write touches, and takes it only where that is all there is to
-- it: a session that lives, as old as the worker knows it, with the node's write before this one, and
-- nothing newer under the same names. Then the outcome is that of merge.lua. Everything else is left
-- to that: the answer is AGENT_WANTED, and nothing has changed.

local AGENT_WANTED = -5

-- Numbers of 16 digits, or the beginning of stamps. What is not made of digits is not less.
local function number_less(x, y)
  local p, q = tonumber(string.sub(x, 1, 8), 16), tonumber(string.sub(y, 1, 8), 16)
  if not p or not q then return false end
  if p ~= q then return p < q end
  p, q = tonumber(string.sub(x, 9, 16), 16), tonumber(string.sub(y, 9, 16), 16)
  return p and q and p < q
end

local function is_older(held, ours)
  return number_less(held, ours) or
    (string.sub(held, 1, 16) == string.sub(ours, 1, 16) and less(held, ours))
end

-- keys: the session; how far workers have carried the node's feed here, in the place of the position
-- that its agent keeps before it sends anything; and of a user's session his index. args: the
-- milliseconds that clocks may differ; the node's previous place in the session, 16 digits; when the
-- session began, its deadline, and its last access; the field and the value of the node's place; then
-- the fields and values of the registers, all of one time; and for an index the member, and its
-- milliseconds.
-- Answers DONE, SAME or AGENT_WANTED.
local function change(keys, args)
  local key, base, began, deadline, used, writer = keys[1], args[2], args[3], args[4], args[5], args[6]
  local index, last = keys[3], #args - (keys[3] and 2 or 0)
  local fields = {'c', 'd', 'e', 'a', 'i', writer}
  for at = 8, last, 2 do fields[#fields + 1] = args[at] end
  local held = redis.call('HMGET', key, unpack(fields))
  local accessed, place = held[4], held[6]
  if held[1] ~= began or held[2] ~= deadline or held[3] or not accessed then return AGENT_WANTED end
  if place ~= base then
    -- Without the write before, this one would pass for all that the node has written.
    if not place then
      if tonumber(base, 16) ~= 0 then return AGENT_WANTED end
    elseif not is_number(place) or number_less(place, base) then return AGENT_WANTED end
  end
  local sets = {}
  if not place or number_less(place, args[7]) then sets[1], sets[2] = writer, args[7] end
  local grows = not place
  for at = 8, last, 2 do
    local ours, theirs = args[at + 1], held[6 + (at - 6) / 2]
    if theirs ~= ours then
      if not theirs then grows = true
      elseif not is_older(theirs, ours) then return AGENT_WANTED end
      sets[#sets + 1], sets[#sets + 2] = args[at], ours
    end
  end
  local is_later = accessed ~= used and number_less(accessed, used)
  if accessed ~= used and not is_number(accessed) then return AGENT_WANTED end
  if is_later then sets[#sets + 1], sets[#sets + 2] = 'a', used end
  if #sets == 0 then return SAME end
  local now = now_ms()
  if last > 8 then
    local latest = now + tonumber(args[1])
    local written = tonumber(string.sub(args[9], 1, 8), 16) * 65536
      + tonumber(string.sub(args[9], 9, 12), 16)
    if written > latest then return AGENT_WANTED end
  end
  if grows and redis.call('HLEN', key) + #sets / 2 > FIELDS_MAX then return AGENT_WANTED end
  local carried = redis.call('GET', keys[2])
  if held[5] and is_later and not is_well_formed('i', held[5]) then return AGENT_WANTED end
  -- Before the session: no session is there without. A place that is taken by what is no index raises
  -- an error here, and the agent mends it. Who logs in has what is over removed.
  if index then name_until(index, args[last + 1], tonumber(args[last + 2]), now) end
  if not carried or not is_number(carried) or number_less(carried, args[7]) then
    redis.call('SET', keys[2], args[7], 'KEEPTTL')
  end
  redis.call('HSET', key, unpack(sets))
  if is_later then
    local times = {a = used, d = deadline, i = held[5]}
    redis.call('PEXPIREAT', key, string.format('%.0f', expiry_ms(times, 0)))
  end
  return DONE
end

redis.register_function('clustersession4_change', change)
