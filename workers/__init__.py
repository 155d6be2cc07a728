"""When and where training runs: Celery brings a worker to a job, a trainer process does it. No web framework.

``__main__`` starts a worker · ``tasks`` the Celery task · ``supervisor`` one job's trainer process and lease ·
``trainer`` the trainer's entry point · ``training`` the loop · ``checkpoints``, ``exporting``, ``publishing`` what
is kept · ``claims`` the job's record in Redis, fenced by tokens · ``reaper`` jobs whose worker vanished.
"""
