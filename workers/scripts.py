"""What workers ask Redis to do in one step, fenced by the claim's token. ``claims.py`` calls it.

KEYS of each: those of ``JobKeys.transition``. A script that finds another token returns -1 and has done nothing.
"""

from __future__ import annotations

from models.contract.transitions import MOVE

# ARGV: token · lease in milliseconds · time · events kept · job id
CLAIM = f"""{MOVE}
-- Asked again because the answer was lost, it is the claim of before.
if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then return tonumber(redis.call('HGET', KEYS[1], 'attempt')) end
if redis.call('HGET', KEYS[1], 'state') ~= 'queued' then return 0 end
local attempt = redis.call('HINCRBY', KEYS[1], 'attempt', 1)
redis.call('HSETNX', KEYS[1], 'started', ARGV[3])
move(ARGV[5], 'running', ARGV[3], ARGV[4], {{}})
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'lease_expires_ms', milliseconds() + ARGV[2])
return attempt
"""

_FENCE = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return -1 end
"""

# ARGV: token · lease in milliseconds
RENEW = f"""{MOVE}{_FENCE}
redis.call('HSET', KEYS[1], 'lease_expires_ms', milliseconds() + ARGV[2])
return redis.call('HGET', KEYS[1], 'cancel_requested') == '1' and 1 or 0
"""

# ARGV: token · kind of event or '' · its data · field that keeps the data or '' · events kept · log line · lines kept
REPORT = f"""{_FENCE}
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], ARGV[4], ARGV[3]) end
if ARGV[2] == 'log' then
  redis.call('RPUSH', KEYS[4], ARGV[6])
  redis.call('LTRIM', KEYS[4], -tonumber(ARGV[7]), -1)
end
if ARGV[2] ~= '' then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', 'event', ARGV[2], 'data', ARGV[3])
end
return 1
"""

# ARGV: token · job id · time · events kept
EXPORTING = f"""{MOVE}{_FENCE}
move(ARGV[2], 'exporting', ARGV[3], ARGV[4], {{}})
return 1
"""

# ARGV: token. Returns 0 if cancellation was asked for first.
PUBLISHING = f"""{_FENCE}
if redis.call('HGET', KEYS[1], 'publishing') == '1' then return 1 end
if redis.call('HGET', KEYS[1], 'cancel_requested') == '1' then return 0 end
redis.call('HSET', KEYS[1], 'publishing', '1')
return 1
"""

# ARGV: token · job id · time · events kept · state · problem or ''
FINISH = f"""{MOVE}{_FENCE}
move(ARGV[2], ARGV[5], ARGV[3], ARGV[4], {{}}, ARGV[6] ~= '' and ARGV[6] or nil)
return 1
"""

# ARGV: token or '' (then only a job that nobody holds) · job id · time · events kept · model · version · channel · what
# to tell there. A job has a version only after the point of no return, so one that was not there is left alone.
SUCCEED = f"""{MOVE}
local job = redis.call('HMGET', KEYS[1], 'state', 'token', 'lease_expires_ms', 'publishing')
if ARGV[1] == '' then
  if job[4] ~= '1' or (job[1] ~= 'queued' and job[1] ~= 'running' and job[1] ~= 'exporting') then return -1 end
  if tonumber(job[3] or '0') > milliseconds() then return -1 end
elseif job[2] ~= ARGV[1] then return -1 end
redis.call('HSET', KEYS[1], 'version', ARGV[6])
move(ARGV[2], 'succeeded', ARGV[3], ARGV[4], {{model = ARGV[5], version = tonumber(ARGV[6])}})
redis.call('PUBLISH', ARGV[7], ARGV[8])
return 1
"""

# ARGV: token or '' (then only a lapsed lease may be taken away) · job id · time · events kept · problem for the last
# attempt · '1' if the store was made to hold no version of this job
RELEASE = f"""{MOVE}
local job = redis.call('HMGET', KEYS[1], 'state', 'token', 'lease_expires_ms', 'attempt', 'max_attempts',
  'cancel_requested', 'publishing', 'last_problem')
if job[1] ~= 'running' and job[1] ~= 'exporting' then return 'not_held' end
if ARGV[1] == '' then
  if tonumber(job[3] or '0') > milliseconds() then return 'held' end
elseif job[2] ~= ARGV[1] then return 'not_held' end
local state = 'queued'
if job[6] == '1' and job[7] ~= '1' then state = 'cancelled'
elseif tonumber(job[4]) >= tonumber(job[5]) then
  -- Past the point of no return there may be a version, or a writer about to make one. The reaper looks first.
  if job[7] == '1' and ARGV[6] ~= '1' then
    redis.call('HDEL', KEYS[1], 'token', 'lease_expires_ms')
    if ARGV[1] ~= '' then redis.call('HSET', KEYS[1], 'last_problem', ARGV[5]) end
    return 'unsettled'
  end
  state = 'failed'
end
move(ARGV[2], state, ARGV[3], ARGV[4], {{}}, state == 'failed' and (job[8] or ARGV[5]) or nil)
return state
"""
