"""One request to a part: what it asks for, and its inputs as arrays that fit the signature. Every problem named.

The body is a JSON object; with the binary tensor extension the bytes of the tensors follow it in the order of the
inputs, and a header says where the JSON ends.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from app import json_text
from app.schemas import OipInput, OipOutput, OipRequest
from app.serving.oip import arrays, words
from app.serving.sessions import LoadedModel
from app.serving.tensors import check_shape
from app.serving.tickets import DEFAULT_PRIORITY, LOWEST_PRIORITY
from models.contract.errors import MalformedBody, ValidationFailed
from models.contract.findings import validation_error
from models.contract.task import Array
from models.contract.tensors import PartSignature, TensorSignature

LARGEST_TIMEOUT_MICROSECONDS = 10**12
Parameters = Mapping[str, Any]


@dataclass(slots=True)
class Wanted:
    """One output that is asked for: as bytes behind the JSON, or as the ``classes`` largest values by name."""

    tensor: TensorSignature
    binary: bool = False
    classes: int = 0


@dataclass(slots=True)
class Asked:
    """One request, checked.

    Attributes:
        deadline: moment of ``time.perf_counter`` after which no answer is wanted, if the request names one.
    """

    part: str
    arrays: dict[str, Array]
    outputs: list[Wanted]
    id: str | None
    priority: int
    deadline: float | None


def read(loaded: LoadedModel, body: bytes, json_bytes: int | None, largest_elements: int) -> Asked:
    """Return what a body asks for.

    Args:
        loaded: the version that is asked.
        body: the whole body.
        json_bytes: how many of its bytes are the JSON object, if tensors follow it.
        largest_elements: most elements of one tensor.

    Raises:
        MalformedBody: the body is not JSON, or ends before the JSON or a tensor does.
        ValidationFailed: it asks for what the model does not take or give; says what.
    """
    started = time.perf_counter()
    if json_bytes is None:
        text, tensors = body, memoryview(b"")
    elif json_bytes > len(body):
        raise MalformedBody(f"Inference-Header-Content-Length is {json_bytes}; the body has {len(body)} bytes.")
    else:
        text, tensors = body[:json_bytes], memoryview(body)[json_bytes:]
    request = _validated(json_text.parse(text))
    parameters = request.parameters
    part, signature = _part(loaded, parameters)
    outputs = _outputs(signature, request.outputs, parameters)
    inputs = _arrays(signature, request.inputs, tensors, largest_elements)
    if not parameters:
        return Asked(part, inputs, outputs, request.id, DEFAULT_PRIORITY, None)
    timeout = _whole(parameters, "timeout", 0, LARGEST_TIMEOUT_MICROSECONDS)
    priority = _whole(parameters, "priority", 0, LOWEST_PRIORITY) or DEFAULT_PRIORITY
    deadline = started + timeout / 1e6 if timeout else None
    return Asked(part, inputs, outputs, request.id, priority, deadline)


def _validated(parsed: object) -> OipRequest:
    try:
        return OipRequest.model_validate(parsed)
    except ValidationError as error:
        raise validation_error(error.errors(include_url=False, include_input=False)) from error


def _part(loaded: LoadedModel, parameters: Parameters) -> tuple[str, PartSignature]:
    signatures = loaded.served.signatures
    part = parameters.get("part") if parameters else None
    if part is None:
        part = next(iter(signatures))
    if not isinstance(part, str) or part not in signatures:
        known = ", ".join(signatures)
        raise ValidationFailed.at("/parameters/part", f"'{part}' is no part of this model; it has: {known}")
    return part, signatures[part]


def _outputs(signature: PartSignature, asked: Sequence[OipOutput] | None, parameters: Parameters) -> list[Wanted]:
    binary = bool(parameters) and _flag(parameters, "binary_data_output", "/parameters")
    if asked is None or not asked:
        return [Wanted(tensor, binary) for tensor in signature.outputs]
    given = {tensor.name: tensor for tensor in signature.outputs}
    found: dict[str, Wanted] = {}
    for index, output in enumerate(asked):
        pointer, own = f"/outputs/{index}", output.parameters
        if output.name not in given:
            known = ", ".join(given)
            raise ValidationFailed.at(f"{pointer}/name", f"there is no output '{output.name}'; there are: {known}")
        if output.name in found:
            raise ValidationFailed.at(f"{pointer}/name", f"the output '{output.name}' is asked for twice")
        wanted = found[output.name] = Wanted(given[output.name], binary)
        if own:
            if "binary_data" in own:
                wanted.binary = _flag(own, "binary_data", f"{pointer}/parameters")
            wanted.classes = _whole(own, words.CLASSES, 0, 10**6, f"{pointer}/parameters")
            if wanted.classes and not given[output.name].shape:
                raise ValidationFailed.at(f"{pointer}/parameters/{words.CLASSES}", "a single value has no classes")
    return list(found.values())


def _arrays(
    signature: PartSignature, inputs: Sequence[OipInput], tensors: memoryview, largest_elements: int
) -> dict[str, Array]:
    """Return the input tensors; nothing is allocated before every shape is known to be right."""
    taken = {tensor.name: tensor for tensor in signature.inputs}
    _check(taken, inputs, largest_elements)
    found: dict[str, Array] = {}
    start = 0
    for index, given in enumerate(inputs):
        wanted, pointer, own = taken[given.name], f"/inputs/{index}", given.parameters
        if own and "binary_data_size" in own:
            if given.data is not None:
                raise ValidationFailed.at(f"{pointer}/data", "comes beside binary_data_size; send one of them")
            size = _whole(own, "binary_data_size", 0, len(tensors) - start, f"{pointer}/parameters")
            found[given.name] = arrays.from_bytes(tensors[start : start + size], given.shape, wanted, pointer)
            start += size
        else:
            found[given.name] = arrays.from_json(given.data, given.shape, wanted, pointer)
    if start != len(tensors):
        raise MalformedBody(f"The inputs take {start} bytes behind the JSON; {len(tensors)} came.")
    return found


def _check(taken: Mapping[str, TensorSignature], inputs: Sequence[OipInput], largest_elements: int) -> None:
    """Check name, datatype and shape of each input, and that none is missing."""
    sizes: dict[str, int] = {}
    seen: set[str] = set()
    for index, given in enumerate(inputs):
        name, pointer = given.name, f"/inputs/{index}"
        if name not in taken:
            known = ", ".join(taken)
            raise ValidationFailed.at(f"{pointer}/name", f"there is no input '{name}'; there are: {known}")
        if name in seen:
            raise ValidationFailed.at(f"{pointer}/name", f"the input '{name}' comes twice")
        seen.add(name)
        datatype = arrays.DATATYPES[taken[name].dtype]
        if given.datatype != datatype:
            detail = f"is {given.datatype[:20]}; the input '{name}' takes {datatype}"
            raise ValidationFailed.at(f"{pointer}/datatype", detail)
        check_shape(taken[name], given.shape, sizes, f"{pointer}/shape")
        if math.prod(given.shape) > largest_elements:
            detail = f"{given.shape} are more than the {largest_elements} elements that one tensor may have"
            raise ValidationFailed.at(f"{pointer}/shape", detail)
    if len(seen) < len(taken):
        missing = next(name for name in taken if name not in seen)
        raise ValidationFailed.at("/inputs", f"the input '{missing}' is missing")


def _flag(parameters: Parameters, name: str, pointer: str) -> bool:
    value = parameters.get(name, False)
    if type(value) is not bool:
        raise ValidationFailed.at(f"{pointer}/{name}", "must be true or false")
    return value


def _whole(parameters: Parameters, name: str, least: int, most: int, pointer: str = "/parameters") -> int:
    value = parameters.get(name, 0)
    if type(value) is not int or not least <= value <= most:
        raise ValidationFailed.at(f"{pointer}/{name}", f"must be a whole number from {least} to {most}")
    return value
