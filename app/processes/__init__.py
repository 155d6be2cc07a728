"""Several gateway processes on one port: their parent, which serves nothing, and what it and they say to one another.

``entry.py`` becomes the parent (``parent.py``), which keeps the children (``member.py`` as it sees them, ``child.py``
what they run) on the listening socket that it bound, starts them again (``restarts.py``), passes on what one of them
changes for all (``changes.py``), and adds up what they counted (``snapshots.py``, ``ledger.py``). They talk in
``messages.py`` over a socket each, whose child end is ``link.py``. A gateway of one process needs none of this. Why it
is so: docs/adr/0013-several-processes.md
"""
