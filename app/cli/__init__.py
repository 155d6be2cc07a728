"""The command line: starts the pieces of Lectern on this machine and speaks to the gateway as any client does.

``main`` assembles the commands · ``up`` ``demo`` start a stack (``stack``, ``guarded``, ``guard``, ``embedded_redis``,
``home``) · ``datasets`` ``train`` ``jobs`` ``models`` ``predict`` talk to a gateway (``connection``) · ``watching``
shows a job's progress · ``doctor`` examines what all this rests on (``checks``) · ``output`` prints.
"""
