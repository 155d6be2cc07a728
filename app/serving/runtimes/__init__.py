"""What runs exported parts, one file per format; ``runtime`` says what each must do.

``onnx`` runs in this process. ``torchscript`` runs in one child process, so that the gateway never loads torch:
``child`` starts and asks it, ``frames`` is what both speak, ``torchscript_child`` is its program and is imported by
nobody else.
"""
