"""From trained modules to files that are served without them.

``formats`` what there is · ``onnx`` and ``torchscript`` one format each · ``gate`` refuses a graph that does not
equal the module it came from, whatever its format · ``quantization`` brings an ONNX graph that passed to eight bits.
"""
