"""What workers ask Redis to do in one step, fenced by the claim's token. ``claims.py`` calls it.

KEYS of each: those of ``JobKeys.transition``. A script that finds another token returns -1 and has done nothing.
"""

from __future__ import annotations

from models.contract.transitions import MOVE

# ARGV: token · lease in milliseconds · time · events kept · job id · who works on it
CLAIM = f"""{MOVE}
-- Asked again because the answer was lost, it is the claim of before.
if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then return tonumber(redis.call('HGET', KEYS[1], 'attempt')) end
if redis.call('HGET', KEYS[1], 'state') ~= 'queued' then return 0 end
local attempt = redis.call('HINCRBY', KEYS[1], 'attempt', 1)
redis.call('HSETNX', KEYS[1], 'started', ARGV[3])
redis.call('HDEL', KEYS[1], 'last_token')
move(ARGV[5], 'running', ARGV[3], ARGV[4], {{}})
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'worker', ARGV[6])
hold(ARGV[2])
return attempt
"""

_FENCE = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return -1 end
"""

# ARGV: token · lease in milliseconds
RENEW = f"""{MOVE}{_FENCE}
hold(ARGV[2])
return redis.call('HGET', KEYS[1], 'cancel_requested') == '1' and 1 or 0
"""

# ARGV: token · field · its value
KEEP = f"""{_FENCE}
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
return 1
"""

_EVENT = """
local function event(kind, kept, data)
  local attempt = redis.call('HGET', KEYS[1], 'attempt')
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', kept, '*', 'event', kind,
    'data', string.sub(data, 1, -2) .. ',"attempt":' .. attempt .. '}')
end
"""

# ARGV: token · kind of event · its data, an object that is not empty · events kept · field that keeps the data or ''
REPORT = f"""{_FENCE}{_EVENT}
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], ARGV[5], ARGV[3]) end
event(ARGV[2], ARGV[4], ARGV[3])
return 1
"""

# ARGV: token · its line as the data of an event · events kept · the line · lines kept. The lines of a trainer that has
# ended are kept as well, until another has the job; the event that tells the end stays the last one.
LOG = f"""{_EVENT}
local tokens = redis.call('HMGET', KEYS[1], 'token', 'last_token')
if tokens[1] ~= ARGV[1] and tokens[2] ~= ARGV[1] then return -1 end
redis.call('RPUSH', KEYS[4], ARGV[4])
redis.call('LTRIM', KEYS[4], -tonumber(ARGV[5]), -1)
if tokens[1] == ARGV[1] then event('log', ARGV[3], ARGV[2]) end
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
# attempt · '1' if the store was made to hold no version of this job · '1' if the worker gives it back to go on later.
# Returns what became of it, and the problem that it failed with.
RELEASE = f"""{MOVE}
local job = redis.call('HMGET', KEYS[1], 'state', 'token', 'lease_expires_ms', 'attempt', 'max_attempts',
  'cancel_requested', 'publishing', 'last_problem', 'failure', 'handed_back')
if job[1] ~= 'running' and job[1] ~= 'exporting' then return {{'not_held'}} end
if ARGV[1] == '' then
  if tonumber(job[3] or '0') > milliseconds() then return {{'held'}} end
elseif job[2] ~= ARGV[1] then return {{'not_held'}} end
-- One that nobody holds any more was counted when its lease was taken away, or gave itself back.
if ARGV[1] == '' and job[2] then tally('lost') end
local state = 'queued'
local used = tonumber(job[4]) - tonumber(job[10] or '0')
if job[6] == '1' and job[7] ~= '1' then state = 'cancelled'
elseif ARGV[7] == '1' and not job[9] then redis.call('HINCRBY', KEYS[1], 'handed_back', 1)
elseif job[9] or used >= tonumber(job[5]) then
  -- Past the point of no return there may be a version, or a writer about to make one. The reaper looks first.
  if job[7] == '1' and ARGV[6] ~= '1' then
    let_go()
    if ARGV[1] ~= '' and not job[8] then redis.call('HSET', KEYS[1], 'last_problem', ARGV[5]) end
    return {{'unsettled'}}
  end
  state = 'failed'
end
local problem = state == 'failed' and (job[9] or job[8] or ARGV[5]) or nil
move(ARGV[2], state, ARGV[3], ARGV[4], {{}}, problem)
if state == 'queued' then redis.call('HDEL', KEYS[1], 'last_problem') end
return {{state, problem}}
"""
