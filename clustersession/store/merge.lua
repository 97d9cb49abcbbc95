#!lua name=clustersession4
-- Merges one session in a Valkey or Redis, as clustersession.core.state merges two copies.
--
-- A session is one hash. clustersession/store/form.py writes and reads its fields:
--   c, a, d    when it began, its last access, its deadline: 16 hexadecimal digits, milliseconds
--   e          its end: time and node, 16 digits each, and the reason
--   v<node>    the highest place in that node's feed whose writes are here: 16 digits
--   i          the register of the idle timeout: stamp, and the milliseconds in decimal digits
--   r<name>    any other register: stamp, and the value as the host has sealed it
-- A stamp is time, node and place, 16 digits each, and 1, or 0 for a deletion: 49 characters. Numbers
-- are compared as text of equal length, because those of Lua are exact only to 2^53.
--
-- The name of the library ends in the version of this form and of the answers. A newer node loads a
-- library of another name beside this one, and older nodes go on with theirs.

local STAMP = 49
local ARGUMENTS_AT_ONCE = 4000        -- Lua's stack bounds what unpack can return
local SESSION_BYTES_MAX = 33554432    -- more than any host takes in one answer of a store
local FIELDS_MAX = 65536 + 4096 + 5   -- the registers and nodes that a session may have
local LATEST_MS = 2 ^ 52              -- what PEXPIREAT takes, and Lua holds exactly

local DONE, SAME, WHOLE_COPY_WANTED, FROM_THE_FUTURE, TOO_LARGE, FULL = 1, 0, -1, -2, -3, -4
local REVOCATION = '}:revoked'        -- no session's name ends so

-- So many bytes, zeros behind the end, are a number that Lua holds exactly.
local function six_bytes(text, at)
  local a, b, c, d, e, f = string.byte(text, at, at + 5)
  return ((((a * 256 + (b or 0)) * 256 + (c or 0)) * 256 + (d or 0)) * 256 + (e or 0)) * 256 + (f or 0)
end

-- Not by <, which compares by the collation of the server's locale.
local function less(x, y)
  for at = 1, math.min(#x, #y), 6 do
    local p, q = six_bytes(x, at), six_bytes(y, at)
    if p ~= q then return p < q end
  end
  return #x < #y
end

local function milliseconds(hex)
  return math.min(tonumber(string.sub(hex, 1, 8), 16) * 4294967296 + tonumber(string.sub(hex, 9), 16),
    LATEST_MS)
end

local function wins(field, theirs, ours)
  if not ours then return true end
  if theirs == ours then return false end
  if field == 'c' or field == 'd' or field == 'e' then return less(theirs, ours) end
  return less(ours, theirs)
end

local function is_register(field)
  return field == 'i' or string.sub(field, 1, 1) == 'r'
end

local function in_parts(command, key, arguments)
  for first = 1, #arguments, ARGUMENTS_AT_ONCE do
    redis.call(command, key,
      unpack(arguments, first, math.min(first + ARGUMENTS_AT_ONCE - 1, #arguments)))
  end
end

-- What core.state.expires_ms says, and for an end the time that clocks may lag.
local function expiry_ms(session, skew_ms)
  local deadline = milliseconds(session.d)
  if session.e then return math.min(deadline + skew_ms, LATEST_MS) end
  local register = session.i
  local digits = register and string.sub(register, STAMP, STAMP) == '1'
    and string.match(string.sub(register, STAMP + 1), '^%d+$')
  local idle = digits and tonumber(string.sub(digits, 1, 15)) or 0
  if idle == 0 then return deadline end
  return math.min(deadline,
    milliseconds(session.a) + idle + math.min(math.floor(idle / 20), 300000))
end

local function now_ms()
  local now = redis.call('TIME')
  return tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
end

-- A hybrid time is milliseconds shifted left by 16: its first twelve digits are those of them.
local function is_from_the_future(field, value, bound)
  return (field == 'e' or is_register(field)) and less(bound, string.sub(value, 1, 12))
end

local function is_number(text)
  return #text == 16 and not string.find(text, '[^0-9a-f]') and string.byte(text) < 56
end

local function is_stamp(text)
  return is_number(string.sub(text, 1, 16)) and not string.find(string.sub(text, 17, 32), '[^0-9a-f]')
    and is_number(string.sub(text, 33, 48))
end

-- Whether a host can have written a field. What cannot be sealed is checked here to the letter, because
-- whoever may write to the server could otherwise have this function fail, at every call.
local function is_well_formed(field, value)
  local kind = string.sub(field, 1, 1)
  if field == 'c' or field == 'a' or field == 'd' then return is_number(value) end
  if kind == 'v' then
    return #field == 17 and not string.find(field, '[^0-9a-f]', 2) and is_number(value)
  end
  if field == 'e' then
    return #value >= 32 and is_number(string.sub(value, 1, 16))
      and not string.find(string.sub(value, 17, 32), '[^0-9a-f]')
  end
  return is_register(field) and #value >= STAMP and is_stamp(value)
    and string.find(value, '^[01]', STAMP) ~= nil
end

-- Reads the session: its fields, those that are to go because no host wrote them, how many there are,
-- and their size. damaged: by field, what a host could not open. Or an error.
local function read(key, damaged)
  local session, gone, fields, size = {}, {}, 0, 0
  local flat = redis.pcall('HGETALL', key)
  if flat.err then
    -- What is no hash is none of ours, and would stand in the way of this session for ever.
    if not string.find(flat.err, 'WRONGTYPE', 1, true) then return nil, flat end
    redis.call('DEL', key)
    flat = {}
  end
  for at = 1, #flat, 2 do
    local field, value = flat[at], flat[at + 1]
    size = size + #field + #value
    if is_well_formed(field, value) and damaged[field] ~= value then
      session[field] = value
      fields = fields + 1
    else
      gone[#gone + 1] = field
    end
  end
  if fields > FIELDS_MAX or size > SESSION_BYTES_MAX or (fields > 0 and not
    (session.c and session.a and session.d)) then
    -- Nor is this, of which no host would read anything.
    session, gone, fields, size = {}, {}, 0, 0
    redis.call('DEL', key)
  end
  return session, gone, fields, size
end

-- Without the versions, and theirs: there are as many as nodes, and an access at another node adds one.
local function size_of(session)
  local size, versions = 0, 0
  for field, value in pairs(session) do
    if string.sub(field, 1, 1) == 'v' then versions = versions + #field + #value
    else size = size + #field + #value end
  end
  return size, versions
end

-- Keeps when a session was used, of what there is no space for: that takes none, and without it the
-- session would expire for others while it is in use. idle: the register that stays.
local function keep_times(key, session, idle, changed, skew_ms)
  local sets = {}
  for _, field in ipairs({'c', 'a', 'd'}) do
    if changed[field] then sets[#sets + 1], sets[#sets + 2] = field, session[field] end
  end
  if #sets == 0 then return end
  redis.call('HSET', key, unpack(sets))
  local times = {a = session.a, d = session.d, i = idle}
  redis.call('PEXPIREAT', key, string.format('%.0f', expiry_ms(times, skew_ms)))
  redis.call('HLEN', key)
end

-- What was damaged, in front of the copy's fields, and where these begin.
local function damaged_in(args)
  local damaged, first = {}, 4 + 2 * tonumber(args[3])
  for at = 4, first - 1, 2 do damaged[args[at]] = args[at + 1] end
  return damaged, first
end

-- keys: the session. args: 1 when the copy is whole, else 0; the milliseconds that clocks may differ;
-- how many fields a host found damaged, each with its value, to be dropped if they are still the same;
-- then the copy's fields and values. is_full: the server takes nothing that grows, but ends and
-- revocations. Answers one of the numbers above.
local function merge_within(keys, args, is_full)
  local key, whole, skew_ms = keys[1], args[1] == '1', tonumber(args[2])
  local damaged, first = damaged_in(args)
  local now = now_ms()
  local bound = string.format('%04x%08x', math.floor((now + skew_ms) / 4294967296),
    (now + skew_ms) % 4294967296)
  local session, gone, fields, size = read(key, damaged)
  if not session then return gone end
  -- Nor does a part mend what was damaged here: without it the rest would be nobody's session.
  if (fields == 0 or #gone > 0) and not whole then return WHOLE_COPY_WANTED end
  local changed, before, idle = {}, {}, session.i
  local _, versions = size_of(session)
  for field in pairs(session) do before[field] = true end
  for at = first, #args, 2 do
    local field, value = args[at], args[at + 1]
    if is_from_the_future(field, value, bound) then return FROM_THE_FUTURE end
    if wins(field, value, session[field]) then
      if not session[field] then fields = fields + 1 end
      session[field], changed[field] = value, true
    end
  end
  if fields > FIELDS_MAX then return TOO_LARGE end
  if is_full and not session.e and string.sub(key, -#REVOCATION) ~= REVOCATION
    and size_of(session) > size - versions then
    if before.a then keep_times(key, session, idle, changed, skew_ms) end
    return FULL
  end
  if session.e then
    for field in pairs(session) do
      if is_register(field) then
        changed[field] = nil
        if before[field] then gone[#gone + 1] = field end
      end
    end
  end
  local sets = {}
  for field in pairs(changed) do
    sets[#sets + 1], sets[#sets + 2] = field, session[field]
  end
  if #sets == 0 and #gone == 0 then return SAME end
  in_parts('HDEL', key, gone)
  in_parts('HSET', key, sets)
  redis.call('PEXPIREAT', key, string.format('%.0f', expiry_ms(session, skew_ms)))
  -- A write ends the tracking of a key for everybody. Reading tells the caller of the next one.
  redis.call('HLEN', key)
  return DONE
end

local function merge(keys, args) return merge_within(keys, args, false) end

-- For a server that is full, which refuses the one above before it has begun.
local function squeeze(keys, args) return merge_within(keys, args, true) end

redis.register_function('clustersession4_merge', merge)
redis.register_function{
  function_name = 'clustersession4_squeeze', callback = squeeze, flags = {'allow-oom'}}
