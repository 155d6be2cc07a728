"""The field: what each model is, what it is trained on and what it promises. No web, no queue.

Where to look:

- ``contract/``   what the packages agree on, torch-free: errors, options, signatures, records.
- ``catalog.py``  the folders are the registry: names, specs, families, tasks and dataset kinds.
- ``family.py``   the extension point of a model family; ``learners.py`` the usual ways to learn.
- ``data/``       dataset kinds, splits and built-in datasets, numpy only.
- ``artifacts/``  the object store: datasets, checkpoints, exported parts, published versions.
- ``nn/``         blocks that several families share.
- ``metrics/``    scores, each with known-answer tests.
- ``<task>/task.py`` and ``<task>/<family>/``  one folder per task, one folder per family.
"""
