"""The Open Inference Protocol as tensors: requests to arrays, outputs to answers, and what is said of a model.

``requests`` reads JSON with or without binary tensors behind it, ``arrays`` makes the values of a tensor, ``answers``
writes what was asked for, ``description`` is the metadata. https://kserve.github.io/website/docs/concepts/architecture/data-plane
"""
