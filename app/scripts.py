"""What the gateway asks Redis to do in one step, and the ids of jobs. ``queue.py`` calls it."""

from __future__ import annotations

import re
import secrets

from models.contract.figures import FIGURES
from models.contract.transitions import MOVE

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: sorts as its numbers do."""

JOB_ID = re.compile(r"job_[0-9A-Z]{26}")

# KEYS: job, index, active, events, figures, idempotency if there is a key.
# ARGV: job id, milliseconds, events kept, digest of the body, key of the job that it resumes or '', then fields and
# values of the record. A checkpoint expires only while no job that is not final resumes it
# (``workers/retention/expiry.py``), so one that is there in this step is there for the new job.
SUBMIT = f"""{FIGURES}
if KEYS[6] then
  local earlier = redis.call('GET', KEYS[6])
  if earlier then
    local digest, id = string.match(earlier, '^(%S+) (%S+)$')
    return {{digest == ARGV[4] and 'same' or 'mismatch', id}}
  end
end
if ARGV[5] ~= '' and redis.call('HEXISTS', ARGV[5], 'checkpoint') == 0 then return {{'expired', ARGV[1]}} end
if KEYS[6] then redis.call('SET', KEYS[6], ARGV[4] .. ' ' .. ARGV[1]) end
for index = 6, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[index], ARGV[index + 1]) end
redis.call('HSET', KEYS[1], 'created_ms', milliseconds())
count(1)
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
redis.call('SADD', KEYS[3], ARGV[1])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[3], '*', 'event', 'state',
  'data', cjson.encode({{state = 'queued', attempt = 1}}))
return {{'written', ARGV[1]}}
"""

# KEYS: those of ``JobKeys.transition``. ARGV: job id, time, events kept. Returns ended where this ended it, else ok,
# publishing, succeeded or failed.
CANCEL = f"""{MOVE}
local state = redis.call('HGET', KEYS[1], 'state')
if state == 'cancelled' then return 'ok' end
if state == 'succeeded' or state == 'failed' then return state end
-- A job that was requeued while it published may have its version already.
if redis.call('HGET', KEYS[1], 'publishing') == '1' then return 'publishing' end
redis.call('HSET', KEYS[1], 'cancel_requested', '1')
if state ~= 'queued' then return 'ok' end
move(ARGV[1], 'cancelled', ARGV[2], ARGV[3], {{}})
return 'ended'
"""

# KEYS: workers, lists of messages, then figures and leases of each project. ARGV: number of lists. Returns records of
# the workers that are there · lengths of the lists · of each project fields and values of its figures, and milliseconds
# since the oldest renewal of a lease that is held or -1. The figures are one text to read instead of hundreds.
LOOK = f"""{FIGURES}
local workers, lengths, projects = {{}}, {{}}, {{}}
for _, key in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local worker = redis.call('GET', key)
  if worker then workers[#workers + 1] = worker end
end
for index = 2, 1 + ARGV[1] do lengths[#lengths + 1] = redis.call('LLEN', KEYS[index]) end
for index = 2 + ARGV[1], #KEYS, 2 do
  local oldest = redis.call('ZRANGE', KEYS[index + 1], 0, 0, 'WITHSCORES')[2]
  local age = oldest and math.max(0, milliseconds() - oldest) or -1
  projects[#projects + 1] = {{table.concat(redis.call('HGETALL', KEYS[index]), ' '), age}}
end
return {{workers, lengths, projects}}
"""


# KEYS: index. ARGV: id of the job before the page or '', its milliseconds · jobs to look at, jobs to return at most ·
# prefix of the job keys · state, family, model or '' for any. Finds the place of a job that is not there any more, too:
# the index is sorted as the ids are. Returns JSON, which is one string to read instead of dozens a job: the id of the
# last job that was looked at, '' if there is none, then id and record of each that is wanted.
PAGE = """
local start = 0
if ARGV[1] ~= '' then
  local rank = redis.call('ZREVRANK', KEYS[1], ARGV[1])
  if rank then
    start = rank + 1
  else
    start = redis.call('ZCOUNT', KEYS[1], '(' .. ARGV[2], '+inf')
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[2], ARGV[2])) do
      if id > ARGV[1] then start = start + 1 end
    end
  end
end
local names, values = {}, {}
for index, name in ipairs({'state', 'family', 'model'}) do
  if ARGV[5 + index] ~= '' then
    names[#names + 1], values[#values + 1] = name, ARGV[5 + index]
  end
end
local function wanted(key)
  local found = #names > 0 and redis.call('HMGET', key, unpack(names))
  for index, value in ipairs(values) do
    -- A record from before the field was there says it in the request.
    local request = not found[index] and redis.call('HGET', key, 'request')
    if value ~= (request and cjson.decode(request)[names[index]] or found[index]) then return false end
  end
  return true
end
local page = {''}
for _, id in ipairs(redis.call('ZREVRANGE', KEYS[1], start, start + ARGV[3] - 1)) do
  if #page > tonumber(ARGV[4]) then break end
  page[1] = id
  if wanted(ARGV[5] .. id) then
    local flat, record = redis.call('HGETALL', ARGV[5] .. id), {}
    for index = 1, #flat, 2 do record[flat[index]] = flat[index + 1] end
    if #flat > 0 then page[#page + 1] = {id, record} end
  end
end
return cjson.encode(page)
"""


def new_job_id(milliseconds: int) -> str:
    """Return an id that sorts by time and then by chance: 48 bits of milliseconds, 80 random ones."""
    number = milliseconds << 80 | secrets.randbits(80)
    return "job_" + "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def milliseconds_of(job_id: str) -> int | None:
    """Return when the job of this id was submitted; None of what cannot be an id."""
    digits = job_id.removeprefix("job_")
    if not is_job_id(job_id) or not set(digits) <= set(ALPHABET):
        return None
    number = 0
    for digit in digits:
        number = number << 5 | ALPHABET.index(digit)
    return number >> 80


def is_job_id(text: str) -> bool:
    """Return whether ``text`` can be the id of a job, so that nothing else gets into a key."""
    return JOB_ID.fullmatch(text) is not None
