"""The Lua by which a job changes its state, shared by the scripts of gateway and workers.

Whatever belongs to a state changes with it in one step: the set of active jobs, the figures, the leases that are held
and the event that tells it.
"""

from __future__ import annotations

from models.contract.figures import FIGURES

# KEYS of every script that begins with it: those of ``JobKeys.transition``.
# move(id, state, moment, kept, data, problem): `moment` is RFC 3339, `data` what the event adds, `problem` JSON or nil.
# hold(lease): the claim of whoever asks begins or goes on for so many milliseconds. · let_go(): nobody holds the job.
# forget(): takes an ended job out of the figures; to be called in the step that deletes its record, before it does.
MOVE = f"""{FIGURES}
local function hold(lease)
  local now = milliseconds()
  redis.call('HSET', KEYS[1], 'lease_expires_ms', now + lease)
  redis.call('ZADD', KEYS[6], now, KEYS[1])
end
local function let_go()
  redis.call('HDEL', KEYS[1], 'token', 'lease_expires_ms')
  redis.call('ZREM', KEYS[6], KEYS[1])
end
local function forget() count(-1) end
local function move(id, state, moment, kept, data, problem)
  local job = redis.call('HMGET', KEYS[1], 'queue', 'family', 'created_ms', 'started_ms', 'token')
  local holds = state == 'running' or state == 'exporting'
  count(-1)
  redis.call('HSET', KEYS[1], 'state', state)
  count(1)
  if state == 'running' and job[1] and not job[4] then
    redis.call('HSET', KEYS[1], 'started_ms', milliseconds())
    observe('wait:' .. job[1], job[3])
  end
  if state == 'queued' then tally('retried') end
  if not holds then
    -- The last lines that its trainer wrote may come after it.
    if job[5] then redis.call('HSET', KEYS[1], 'last_token', job[5]) end
    let_go()
  end
  if not holds and state ~= 'queued' then
    redis.call('HSET', KEYS[1], 'finished', moment)
    redis.call('SREM', KEYS[3], id)
    if job[2] then observe('duration:' .. state .. ':' .. job[2], job[4]) end
  end
  data['state'] = state
  data['attempt'] = math.max(1, tonumber(redis.call('HGET', KEYS[1], 'attempt') or '0'))
  local event = cjson.encode(data)
  -- The problem goes in as it is: decoded and encoded by cjson, its empty lists would become objects.
  if problem then
    redis.call('HSET', KEYS[1], 'error', problem)
    event = string.sub(event, 1, -2) .. ',"error":' .. problem .. '}}'
  end
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', kept, '*', 'event', 'state', 'data', event)
end
"""
