"""Lectern's predictions beside a bare web server, ONNX Runtime alone and other servers: ``make bench-serving``.

``__main__`` puts the parts together; ``load`` is the client, ``servers`` and ``peers`` start what is measured,
``rounds``, ``overload`` and ``poison`` measure it, ``targets`` and ``page`` say what came of it.
"""
