"""One request to a part: what it asks for, and its inputs as arrays that fit the signature. Every problem named.

The body is a JSON object; with the binary tensor extension the bytes of the tensors follow it in the order of the
inputs, and a header says where the JSON ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from app import json_text
from app.schemas import OIP_REQUEST, OipInput, OipOutput, OipRequest
from app.serving.oip import arrays, numbers, words
from app.serving.sessions import LoadedModel
from app.serving.tensors import check_shape
from app.serving.tickets import DEFAULT_PRIORITY, LOWEST_PRIORITY
from models.contract.errors import MalformedBody, ValidationFailed
from models.contract.findings import validation_error
from models.contract.task import Array
from models.contract.tensors import PartSignature, TensorSignature

LARGEST_TIMEOUT_MICROSECONDS = 10**12
LARGEST_SIZE = 2**48
Parameters = Mapping[str, Any]
_NONE: Parameters = {}
_NO_BYTES = memoryview(b"")
_validate = OIP_REQUEST.validator.validate_python
PLANS = 64
PLAN_BYTES = 2048


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


@dataclass(slots=True)
class _Tensor:
    """One input; ``size`` is that of its bytes if its values come as such, else None."""

    name: str
    shape: Sequence[int]
    wanted: TensorSignature
    size: int | None
    pointer: str


@dataclass(slots=True)
class _Plan:
    """What a JSON object asks for, checked, without the values of its inputs."""

    part: str
    tensors: list[_Tensor]
    outputs: list[Wanted]
    id: str | None
    priority: int
    timeout: int


@dataclass(slots=True)
class _Part:
    """A part and its tensors by name."""

    name: str
    inputs: dict[str, TensorSignature]
    outputs: dict[str, TensorSignature]

    @classmethod
    def of(cls, name: str, signature: PartSignature) -> _Part:
        """Sort the tensors of ``signature``."""
        inputs = {tensor.name: tensor for tensor in signature.inputs}
        return cls(name, inputs, {tensor.name: tensor for tensor in signature.outputs})


class Reader:
    """Reads the requests to one version.

    Clients mostly send the same JSON around the values, so what was found in it is kept.
    """

    def __init__(self, loaded: LoadedModel, largest_elements: int) -> None:
        """Read for ``loaded``; ``largest_elements`` is the most of one tensor."""
        self._parts = {name: _Part.of(name, signature) for name, signature in loaded.served.signatures.items()}
        self._largest_elements = largest_elements
        self._before_bytes: dict[bytes, _Plan] = {}
        self._around_list: dict[bytes, _Plan] = {}
        taken = (tensor for part in self._parts.values() for tensor in part.inputs.values())
        self._takes_floats = all(tensor.dtype.startswith("float") for tensor in taken)

    def read(self, body: bytes, json_bytes: int | None, started: float) -> Asked:
        """Return what a body that was whole at ``started`` asks for; ``json_bytes`` are JSON if tensors follow.

        Raises:
            MalformedBody: the body is not JSON, or ends before the JSON or a tensor does.
            ValidationFailed: it asks for what the model does not take or give; says what.
        """
        if json_bytes is None:
            split = numbers.split(body) if self._takes_floats else None
            asked = None if split is None else self._read_list(*split, started)
            return asked or self._read(body, _NO_BYTES, started)
        if json_bytes > len(body):
            raise MalformedBody(f"Inference-Header-Content-Length is {json_bytes}; the body has {len(body)} bytes.")
        text, tensors = body[:json_bytes], memoryview(body)[json_bytes:]
        plan = self._before_bytes.get(text)
        return self._read(text, tensors, started) if plan is None else _planned(plan, tensors, started, [])

    def _read_list(self, envelope: bytes, values: Array, started: float) -> Asked | None:
        """Return what ``envelope`` around ``values`` asks for; None if they are not those of its one input."""
        plan = self._around_list.get(envelope)
        if plan is None:
            joined = numbers.joined(envelope, values)
            if joined is None:
                return None
            plan = self._plan(_validated(joined))
            _keep(self._around_list, envelope, plan)
        return _planned(plan, _NO_BYTES, started, [values])

    def _read(self, text: bytes, tensors: memoryview, started: float) -> Asked:
        request = _validated(json_text.parse(text))
        plan = self._plan(request)
        asked = _planned(plan, tensors, started, [given.get("data") for given in request["inputs"]])
        if all(tensor.size is not None for tensor in plan.tensors):
            _keep(self._before_bytes, text, plan)
        return asked

    def _plan(self, request: OipRequest) -> _Plan:
        inputs, parameters = request["inputs"], request.get("parameters", _NONE)
        part = _part(self._parts, parameters)
        outputs = _outputs(part, request.get("outputs"), parameters)
        taken = part.inputs
        _check(taken, inputs, self._largest_elements)
        timeout = _whole(parameters, "timeout", 0, LARGEST_TIMEOUT_MICROSECONDS) if parameters else 0
        priority = (_whole(parameters, "priority", 0, LOWEST_PRIORITY) if parameters else 0) or DEFAULT_PRIORITY
        return _Plan(part.name, _tensors(taken, inputs), outputs, request.get("id"), priority, timeout)


def _keep(plans: dict[bytes, _Plan], text: bytes, plan: _Plan) -> None:
    if len(text) <= PLAN_BYTES:
        if len(plans) >= PLANS:
            plans.clear()
        plans[text] = plan


def _planned(plan: _Plan, tensors: memoryview, started: float, listed: Sequence[object]) -> Asked:
    """Return what a plan asks for with the values of its inputs: the bytes ``tensors``, or by input ``listed``."""
    found: dict[str, Array] = {}
    start = 0
    for index, tensor in enumerate(plan.tensors):
        if tensor.size is None:
            found[tensor.name] = arrays.from_json(listed[index], tensor.shape, tensor.wanted, tensor.pointer)
            continue
        end = start + tensor.size
        if end > len(tensors):
            detail = f"is {tensor.size}; {len(tensors) - start} bytes are left behind the JSON"
            raise ValidationFailed.at(f"{tensor.pointer}/parameters/binary_data_size", detail)
        found[tensor.name] = arrays.from_bytes(tensors[start:end], tensor.shape, tensor.wanted, tensor.pointer)
        start = end
    if start != len(tensors):
        raise MalformedBody(f"The inputs take {start} bytes behind the JSON; {len(tensors)} came.")
    deadline = started + plan.timeout / 1e6 if plan.timeout else None
    return Asked(plan.part, found, plan.outputs, plan.id, plan.priority, deadline)


def _validated(parsed: object) -> OipRequest:
    try:
        return _validate(parsed)
    except ValidationError as error:
        raise validation_error(error.errors(include_url=False)) from error


def _part(parts: Mapping[str, _Part], parameters: Parameters) -> _Part:
    name = parameters.get("part") if parameters else None
    if name is None:
        return next(iter(parts.values()))
    if not isinstance(name, str) or name not in parts:
        known = ", ".join(parts)
        raise ValidationFailed.at("/parameters/part", f"'{name}' is no part of this model; it has: {known}")
    return parts[name]


def _outputs(part: _Part, asked: Sequence[OipOutput] | None, parameters: Parameters) -> list[Wanted]:
    binary = bool(parameters) and _flag(parameters, "binary_data_output", "/parameters")
    given = part.outputs
    if not asked:
        return [Wanted(tensor, binary) for tensor in given.values()]
    found: dict[str, Wanted] = {}
    for index, output in enumerate(asked):
        name, own = output["name"], output.get("parameters")
        pointer = f"/outputs/{index}"
        if name not in given:
            known = ", ".join(given)
            raise ValidationFailed.at(f"{pointer}/name", f"there is no output '{name}'; there are: {known}")
        if name in found:
            raise ValidationFailed.at(f"{pointer}/name", f"the output '{name}' is asked for twice")
        wanted = found[name] = Wanted(given[name], binary)
        if own:
            if "binary_data" in own:
                wanted.binary = _flag(own, "binary_data", f"{pointer}/parameters")
            wanted.classes = _whole(own, words.CLASSES, 0, 10**6, f"{pointer}/parameters")
            if wanted.classes and not given[name].shape:
                raise ValidationFailed.at(f"{pointer}/parameters/{words.CLASSES}", "a single value has no classes")
    return list(found.values())


def _tensors(taken: Mapping[str, TensorSignature], inputs: Sequence[OipInput]) -> list[_Tensor]:
    """Return the inputs, and how many bytes those have whose values come as such."""
    found: list[_Tensor] = []
    for index, given in enumerate(inputs):
        own, name, pointer, size = given.get("parameters"), given["name"], f"/inputs/{index}", None
        if own and "binary_data_size" in own:
            if given.get("data") is not None:
                raise ValidationFailed.at(f"{pointer}/data", "comes beside binary_data_size; send one of them")
            size = _whole(own, "binary_data_size", 0, LARGEST_SIZE, f"{pointer}/parameters")
        found.append(_Tensor(name, given["shape"], taken[name], size, pointer))
    return found


def _check(taken: Mapping[str, TensorSignature], inputs: Sequence[OipInput], largest_elements: int) -> None:
    """Check name, datatype and shape of each input, and that none is missing."""
    sizes: dict[str, int] = {}
    seen: set[str] = set()
    for index, given in enumerate(inputs):
        name, shape = given["name"], given["shape"]
        wanted = taken.get(name)
        if wanted is None:
            known = ", ".join(taken)
            raise ValidationFailed.at(f"/inputs/{index}/name", f"there is no input '{name}'; there are: {known}")
        if name in seen:
            raise ValidationFailed.at(f"/inputs/{index}/name", f"the input '{name}' comes twice")
        seen.add(name)
        datatype = arrays.DATATYPES[wanted.dtype]
        if given["datatype"] != datatype:
            detail = f"is {given['datatype'][:20]}; the input '{name}' takes {datatype}"
            raise ValidationFailed.at(f"/inputs/{index}/datatype", detail)
        check_shape(wanted, shape, sizes, f"/inputs/{index}/shape")
        if math.prod(shape) > largest_elements:
            detail = f"{shape} are more than the {largest_elements} elements that one tensor may have"
            raise ValidationFailed.at(f"/inputs/{index}/shape", detail)
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
