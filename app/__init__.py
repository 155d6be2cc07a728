"""The gateway: HTTP, serving, and the command line. Start reading at ``main.py``.

- ``main.py``       builds the application and runs it; ``settings.py`` is what can be set.
- ``routes/``       one file per noun of the REST contract.
- ``serving/``      published versions in memory and how a request becomes predictions.
- ``queue.py``      training jobs in Redis, and the message that brings a worker.
- ``problems.py``   the only place with status codes of errors.
- ``telemetry.py``  logs, metrics and request ids; ``limits.py`` how large a body may be.
- ``openapi.py``    the OpenAPI document, with every verb that some model can answer.
"""

import gc

YOUNG_OBJECTS = 20_000
"""So many objects more than before are made until cycles are looked for. Neither loading modules nor answering requests
leaves many; looking every 700 objects, Python's default, is a tenth of the time that loading takes."""

gc.set_threshold(YOUNG_OBJECTS)
