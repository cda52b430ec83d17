"""What Redis does in one go, in Lua: Redis 6.2 and later, Valkey, clusters.

All keys of a stream share its channel as their ``{tag}``, so that in a cluster they lie
on the node that publishes it. A publication is kept and published as ``bus`` packs it.
"""

from __future__ import annotations

__all__ = [
    "JOIN",
    "LEAVE",
    "PRESENT",
    "PROLONG",
    "PUBLISH",
    "RECALL",
    "RENEW",
    "TOUCH",
]

PUBLISH = """
-- KEYS: life, log, channel. ARGV: message, rest of header, most messages, their time
-- and that of the life in ms, an epoch in case a new life begins, publishing command,
-- the publication's id, whether it may have been published already. Returns its offset.
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch then
  epoch = ARGV[6]
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'offset', 0)
  redis.call('DEL', KEYS[2])
end
if ARGV[9] == '1' then
  for _, entry in ipairs(redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1000)) do
    if entry[2][4] == ARGV[8] then return tonumber(string.match(entry[1], '%d+')) end
  end
end
local offset = redis.call('HINCRBY', KEYS[1], 'offset', 1)
local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])
local packed = '\\1{"e":"' .. epoch .. '","o":' .. offset .. ',"time":' .. now
  .. ARGV[2] .. '}\\n' .. ARGV[1]
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], offset .. '-0',
  'p', packed, 'i', ARGV[8])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call(ARGV[7], KEYS[3], packed)
return offset
"""

_PROLONG = """
local offset = redis.call('HGET', KEYS[1], 'offset')
if offset then
  redis.call('PEXPIRE', KEYS[1], offset == '0' and ARGV[2] or ARGV[1])
end
"""

RECALL = f"""
-- KEYS: life, log. ARGV: time of the life in ms, the same for one in which nothing has
-- been published, most messages, an epoch. Returns epoch, offset, the time now, and the
-- log.
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[4], 'offset', 0)
  redis.call('DEL', KEYS[2])
end
{_PROLONG}
local life = redis.call('HMGET', KEYS[1], 'epoch', 'offset')
local time = redis.call('TIME')
local answer = {{life[1], life[2], string.format('%d.%06d', time[1], time[2])}}
local kept = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', ARGV[3])
for i = #kept, 1, -1 do
  answer[#answer + 1] = kept[i][2][2]
end
return answer
"""

PROLONG = f"""
-- KEYS: life. ARGV: its time in ms, the same for one in which nothing was published.
{_PROLONG}
"""

RENEW = """
-- KEYS: life, log. ARGV: the epoch that ends, the one that begins.
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'offset', 0)
  redis.call('DEL', KEYS[2])
end
"""

_LEAVE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function leave(session)
  local member = redis.call('HGET', KEYS[2], session)
  redis.call('ZREM', KEYS[1], session)
  if not member then return end
  redis.call('HDEL', KEYS[2], session)
  if redis.call('HINCRBY', KEYS[4], member, -1) <= 0 then
    redis.call('HDEL', KEYS[3], member)
    redis.call('HDEL', KEYS[4], member)
    local event = cjson.encode({type = 'leave', id = member})
    redis.call(ARGV[1], KEYS[5], '\\1{"presence":true,"transient":true}\\n' .. event)
  end
end
local function end_silent()
  for _, session in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
    leave(session)
  end
end
"""

JOIN = f"""
-- KEYS: sessions by expiry, session's member, member's info, member's sessions,
-- channel. ARGV: publishing command, member, session, info, packed event, ms to linger,
-- ms to keep.
{_LEAVE}
local before = redis.call('HGET', KEYS[2], ARGV[3])
if before and before ~= ARGV[2] then
  leave(ARGV[3])
  before = nil
end
redis.call('ZADD', KEYS[1], now + ARGV[6], ARGV[3])
redis.call('HSET', KEYS[3], ARGV[2], ARGV[4])
if not before then
  redis.call('HSET', KEYS[2], ARGV[3], ARGV[2])
  if redis.call('HINCRBY', KEYS[4], ARGV[2], 1) == 1 then
    redis.call(ARGV[1], KEYS[5], ARGV[5])
  end
end
for i = 1, 4 do redis.call('PEXPIRE', KEYS[i], ARGV[7]) end
"""

LEAVE = f"""
-- KEYS as for joining. ARGV: publishing command, session.
{_LEAVE}
leave(ARGV[2])
"""

TOUCH = f"""
-- KEYS as for joining. ARGV: publishing command, ms to linger, ms to keep, whether all
-- of the process's sessions have been touched with this call, sessions. Returns those
-- that are not known.
{_LEAVE}
local unknown = {{}}
for i = 5, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[i])
  else
    unknown[#unknown + 1] = ARGV[i]
  end
end
for i = 1, 4 do redis.call('PEXPIRE', KEYS[i], ARGV[3]) end
if ARGV[4] == '1' then end_silent() end
return unknown
"""

PRESENT = f"""
-- KEYS as for joining. ARGV: publishing command. Returns members and their infos.
{_LEAVE}
end_silent()
return redis.call('HGETALL', KEYS[3])
"""
