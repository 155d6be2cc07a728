"""What nobody needs any more goes, after stated times.

``__main__`` is the command, by hand or started by the reaper · ``expiry`` the records of ended jobs, in Redis ·
``ended_jobs`` what of them has expired · ``turns`` when the reaper starts it. Files and their names:
``models/artifacts/retention.py``.
"""
