"""The Lua of the event log. KEYS are always the stream, its meta hash and its cancel key; no other key is touched."""

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Script:
    """Lua that is sent whole only to a server that does not know it yet."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)


CREATE = Script("""
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local ttl = tonumber(ARGV[1]) * 1000
redis.call('XADD', KEYS[1], '0-1', 'k', '')
redis.call('XDEL', KEYS[1], '0-1')
redis.call('HSET', KEYS[2], 'fence', '0', 'keep', ARGV[2], 'owner', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ttl)
redis.call('PEXPIRE', KEYS[2], ttl)
return 1
""")

# ARGV: fence, 1 if this writer may hold it already (an answer got lost). Answers the number of entries, or -1.
CLAIM = Script("""
local now = redis.call('HMGET', KEYS[2], 'fence', 'ended')
if not now[1] or now[2] then return -1 end
local held, asked = tonumber(now[1]), tonumber(ARGV[1])
if asked < held or (asked == held and ARGV[2] ~= '1') then return -1 end
redis.call('HSET', KEYS[2], 'fence', ARGV[1])
return redis.call('XLEN', KEYS[1])
""")

# ARGV: fence; entries the writer knows of (-1: not known); how many of the coming ones it may have sent before;
# 1 if the last one ends the log; then kind and data of each.
# Answers {0 or 1 for a cancel, entries now} or {-1} fenced, {-2} gone, {-3} lost.
APPEND = Script("""
local now = redis.call('HMGET', KEYS[2], 'fence', 'ended', 'keep')
if not now[1] then return {-2} end
if now[1] ~= ARGV[1] then return {-1} end
local length = redis.call('XLEN', KEYS[1])
local known, first = tonumber(ARGV[2]), 5
if known > length then return {-3} end
local landed = length - known
if landed <= tonumber(ARGV[3]) then first = 5 + 2 * landed end
if now[2] and (first == 5 or first <= #ARGV) then return {-1} end
for i = first, #ARGV, 2 do
  redis.call('XADD', KEYS[1], '*', 'k', ARGV[i], 'd', ARGV[i + 1])
  length = length + 1
end
local cancel = redis.call('EXISTS', KEYS[3])
if ARGV[4] == '1' then
  redis.call('HSET', KEYS[2], 'ended', '1')
  for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], tonumber(now[3]) * 1000) end
end
return {cancel, length}
""")

CANCEL = Script("""
local left = redis.call('PTTL', KEYS[2])
if left > 0 then redis.call('SET', KEYS[3], '1', 'PX', left) end
return left
""")

RENEW = Script("""
if redis.call('HEXISTS', KEYS[2], 'ended') == 1 then return 0 end
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], tonumber(ARGV[1]) * 1000) end
return redis.call('EXISTS', KEYS[1])
""")
