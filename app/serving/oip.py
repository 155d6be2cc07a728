"""Tensors of the Open Inference Protocol: from JSON to arrays that fit a part, and back. Every problem named."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import orjson
from pydantic import ValidationError

from app import json_text
from app.schemas import OipInput, OipModel, OipRequest, OipTensor
from app.serving.sessions import LoadedModel
from app.serving.tensors import check_shape
from models.contract.errors import ValidationFailed
from models.contract.findings import validation_error
from models.contract.task import Array
from models.contract.tensors import Dtype, PartSignature, TensorSignature

DATATYPES: dict[Dtype, str] = {
    "float32": "FP32",
    "float64": "FP64",
    "int64": "INT64",
    "int32": "INT32",
    "bool": "BOOL",
    "uint8": "UINT8",
}
PLATFORMS = {"onnx": "onnxruntime_onnx", "torchscript": "pytorch_torchscript"}


def metadata(loaded: LoadedModel, versions: Sequence[int]) -> OipModel:
    """Return how the protocol describes a version."""
    signatures = loaded.served.signatures
    part, first = next(iter(signatures.items()))
    return OipModel(
        name=loaded.manifest.model,
        versions=[str(number) for number in versions],
        platform=PLATFORMS[loaded.manifest.parts[part].format],
        inputs=[_describe(tensor) for tensor in first.inputs],
        outputs=[_describe(tensor) for tensor in first.outputs],
        parameters={"parts": list(signatures)},
    )


def infer(loaded: LoadedModel, body: bytes, largest_elements: int) -> bytes:
    """Return the JSON answer to a JSON request.

    Raises:
        MalformedBody: the body is not JSON.
        ValidationFailed: it asks for what the model does not take or give; says what.
    """
    request = _parse(body)
    part, signature = _part(loaded, request)
    wanted = _outputs(signature, request)
    arrays = _arrays(signature, request.inputs, largest_elements)
    found = loaded.run(part, arrays)
    outputs = [
        {
            "name": tensor.name,
            "datatype": DATATYPES[tensor.dtype],
            "shape": list(found[tensor.name].shape),
            "data": np.ascontiguousarray(found[tensor.name]).reshape(-1),
        }
        for tensor in wanted
    ]
    answer: dict[str, object] = {
        "model_name": loaded.manifest.model,
        "model_version": str(loaded.manifest.version),
        "outputs": outputs,
    }
    if request.id is not None:
        answer["id"] = request.id
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _parse(body: bytes) -> OipRequest:
    try:
        return OipRequest.model_validate(json_text.parse(body))
    except ValidationError as error:
        raise validation_error(error.errors(include_url=False, include_input=False)) from error


def _part(loaded: LoadedModel, request: OipRequest) -> tuple[str, PartSignature]:
    signatures = loaded.served.signatures
    part = request.parameters.get("part", next(iter(signatures)))
    if not isinstance(part, str) or part not in signatures:
        known = ", ".join(signatures)
        raise ValidationFailed.at("/parameters/part", f"'{part}' is no part of this model; it has: {known}")
    return part, signatures[part]


def _outputs(signature: PartSignature, request: OipRequest) -> list[TensorSignature]:
    if request.outputs is None:
        return list(signature.outputs)
    given = {tensor.name: tensor for tensor in signature.outputs}
    seen: set[str] = set()
    for index, output in enumerate(request.outputs):
        if output.name not in given:
            known = ", ".join(given)
            raise ValidationFailed.at(
                f"/outputs/{index}/name", f"there is no output '{output.name}'; there are: {known}"
            )
        if output.name in seen:
            raise ValidationFailed.at(f"/outputs/{index}/name", f"the output '{output.name}' is asked for twice")
        seen.add(output.name)
    return [given[output.name] for output in request.outputs]


def _arrays(signature: PartSignature, inputs: Sequence[OipInput], largest_elements: int) -> dict[str, Array]:
    """Return the input tensors; nothing is allocated before every shape is known to be right."""
    taken = {tensor.name: tensor for tensor in signature.inputs}
    sizes: dict[str, int] = {}
    seen: set[str] = set()
    for index, given in enumerate(inputs):
        if given.name not in taken:
            known = ", ".join(taken)
            raise ValidationFailed.at(f"/inputs/{index}/name", f"there is no input '{given.name}'; there are: {known}")
        if given.name in seen:
            raise ValidationFailed.at(f"/inputs/{index}/name", f"the input '{given.name}' comes twice")
        seen.add(given.name)
        datatype = DATATYPES[taken[given.name].dtype]
        if given.datatype != datatype:
            detail = f"is {given.datatype[:20]}; the input '{given.name}' takes {datatype}"
            raise ValidationFailed.at(f"/inputs/{index}/datatype", detail)
        check_shape(taken[given.name], given.shape, sizes, f"/inputs/{index}/shape")
        if math.prod(given.shape) > largest_elements:
            detail = f"{given.shape} are more than the {largest_elements} elements that one tensor may have"
            raise ValidationFailed.at(f"/inputs/{index}/shape", detail)
    missing = [name for name in taken if name not in seen]
    if missing:
        raise ValidationFailed.at("/inputs", f"the input '{missing[0]}' is missing")
    return {given.name: _array(given, taken[given.name], index) for index, given in enumerate(inputs)}


def _array(given: OipInput, wanted: TensorSignature, index: int) -> Array:
    pointer = f"/inputs/{index}/data"
    shape = tuple(given.shape)
    if not isinstance(given.data, list):
        raise ValidationFailed.at(pointer, "must be a list of values")
    _check_values(cast("list[object]", given.data), len(shape), wanted, pointer)
    try:
        values = np.asarray(cast("list[object]", given.data))
    except (ValueError, OverflowError) as error:
        raise ValidationFailed.at(pointer, "is ragged; send the values flat or nested as the shape says") from error
    if values.size != math.prod(shape) or (values.ndim > 1 and values.shape != shape):
        raise ValidationFailed.at(pointer, f"has the shape {list(values.shape)}; {list(shape)} was announced")
    return _cast(values, np.dtype(wanted.dtype), pointer).reshape(shape)


def _check_values(values: list[object], axes: int, wanted: TensorSignature, pointer: str) -> None:
    """Refuse text before numpy makes every value as wide as the longest, and lists deeper than ``axes``."""
    kinds = set(map(type, values))
    if str in kinds:
        raise ValidationFailed.at(pointer, f"holds something that is not {DATATYPES[wanted.dtype]}")
    if list in kinds:
        if axes <= 1:
            raise ValidationFailed.at(pointer, f"is nested deeper than the shape says; '{wanted.name}' has fewer axes")
        for value in values:
            if isinstance(value, list):
                _check_values(cast("list[object]", value), axes - 1, wanted, pointer)


def _cast(values: Array, dtype: np.dtype[np.generic], pointer: str) -> Array:
    """Return ``values`` as ``dtype`` if none of them changes more than by rounding."""
    kinds = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}[dtype.kind]
    if values.dtype.kind not in kinds:
        raise ValidationFailed.at(pointer, f"holds something that is not {DATATYPES[cast('Dtype', dtype.name)]}")
    if dtype.kind in "iu":
        bounds = np.iinfo(dtype.name)
        if int(values.min()) < bounds.min or int(values.max()) > bounds.max:
            raise ValidationFailed.at(pointer, f"holds a number outside [{bounds.min}, {bounds.max}]")
    with np.errstate(over="ignore"):
        converted = values.astype(dtype)
    if dtype.kind == "f" and not np.isfinite(converted).all():
        raise ValidationFailed.at(pointer, f"holds a number that is too large for {dtype.name}")
    return converted


def _describe(tensor: TensorSignature) -> OipTensor:
    shape = [axis if isinstance(axis, int) else -1 for axis in tensor.shape]
    return OipTensor(name=tensor.name, datatype=DATATYPES[tensor.dtype], shape=shape)
