"""Figures of a project's jobs, kept in Redis beside the records and changed in the very step that changes a job.

So they are exact whenever and however often gateways, workers and Redis start anew, and reading them costs the same
after ten jobs as after a million. ``transitions.py`` puts the Lua here before its own; the gateway reads the hash
(``app/figures.py``). A record without the field ``queue``, written before there were figures, is in none of them.

Hash ``figures``, all values whole numbers:

``jobs:{queue}:{state}`` jobs there are · ``lost:{queue}`` leases that lapsed and were taken back · ``retried:{queue}``
returns from running or exporting to queued, those handed back included · ``wait:{queue}:{bound}`` jobs by the time from
submission to their first start · ``duration:{state}:{family}:{bound}`` jobs that began, by the time from their first
start to their end. ``bound`` is the least of ``BOUNDS_SECONDS`` that is not exceeded, ``+Inf`` beyond the last, and
``sum`` holds the milliseconds together. All times are those of Redis's clock.
"""

from __future__ import annotations

BOUNDS_SECONDS = ("0.5", "1", "2.5", "5", "10", "30", "60", "300", "900", "1800", "3600", "14400", "43200", "86400")
"""As text, so that Lua and Python write them alike."""

# KEYS[1] is the job, KEYS[5] the hash of figures.
# count(by): the record has come (1) or goes (-1), as it is in Redis now. · tally(name): one more of something that
# happens to the job's queue. · observe(name, since): the milliseconds since then, which the record holds or does not.
FIGURES = f"""
local function milliseconds()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end
local function count(by)
  local job = redis.call('HMGET', KEYS[1], 'queue', 'state')
  if job[1] and job[2] then redis.call('HINCRBY', KEYS[5], 'jobs:' .. job[1] .. ':' .. job[2], by) end
end
local function tally(name)
  local queue = redis.call('HGET', KEYS[1], 'queue')
  if queue then redis.call('HINCRBY', KEYS[5], name .. ':' .. queue, 1) end
end
local function observe(name, since)
  if not since then return end
  local spent, reached = math.max(0, milliseconds() - since), '+Inf'
  for _, bound in ipairs({{{", ".join(f"'{bound}'" for bound in BOUNDS_SECONDS)}}}) do
    if spent <= bound * 1000 then
      reached = bound
      break
    end
  end
  redis.call('HINCRBY', KEYS[5], name .. ':' .. reached, 1)
  redis.call('HINCRBY', KEYS[5], name .. ':sum', spent)
end
"""
