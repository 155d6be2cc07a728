# What Lectern uses of billiard, with which Celery makes the processes of its pool.

class Process:
    pid: int

def active_children() -> list[Process]: ...
