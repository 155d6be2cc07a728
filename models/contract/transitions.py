"""The Lua by which a job changes its state, shared by the scripts of gateway and workers.

Whatever belongs to a state changes with it in one step: the set of active jobs and the event that tells it.
"""

from __future__ import annotations

# KEYS of every script that begins with it: those of ``JobKeys.transition``.
# move(id, state, moment, kept, data, problem): `moment` is RFC 3339, `data` what the event adds, `problem` JSON or nil.
MOVE = """
local function move(id, state, moment, kept, data, problem)
  redis.call('HSET', KEYS[1], 'state', state)
  if state ~= 'running' and state ~= 'exporting' then
    -- The last lines that its trainer wrote may come after it.
    local token = redis.call('HGET', KEYS[1], 'token')
    if token then redis.call('HSET', KEYS[1], 'last_token', token) end
    redis.call('HDEL', KEYS[1], 'token', 'lease_expires_ms')
  end
  if state == 'succeeded' or state == 'failed' or state == 'cancelled' then
    redis.call('HSET', KEYS[1], 'finished', moment)
    redis.call('SREM', KEYS[3], id)
  end
  data['state'] = state
  data['attempt'] = math.max(1, tonumber(redis.call('HGET', KEYS[1], 'attempt') or '0'))
  local event = cjson.encode(data)
  -- The problem goes in as it is: decoded and encoded by cjson, its empty lists would become objects.
  if problem then
    redis.call('HSET', KEYS[1], 'error', problem)
    event = string.sub(event, 1, -2) .. ',"error":' .. problem .. '}'
  end
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', kept, '*', 'event', 'state', 'data', event)
end
local function milliseconds()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end
"""
