"""The Open Inference Protocol, version 2 (KServe's, Triton's, MLServer's), in JSON.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md

Rows come as columns, one tensor of shape `[rows]` or `[rows, 1]` a field of the contract; nullable
fields may be left out, and a null stands for no value. Or they come as one tensor `rows`: numbers
of shape `[rows, fields]` in the order of the contract where it has numbers only, else `BYTES` of
shape `[rows]`, each the JSON of one row, an object or an array. The binary extension is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from workloads.contracts import Contract, Field, fields
from workloads.manifest import Manifest
from workloads.product import Task
from workloads.serving.batching import Predicted
from workloads.serving.request import (
    PARAMETERS,
    BadRequest,
    Fault,
    Parameters,
    Question,
    Unresolved,
    decoded,
    judged,
    shown,
    whole,
)

ROWS: Final = "rows"
INTEGERS: Final = frozenset(
    {"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"}
)
NUMBERS: Final = frozenset({"FP16", "FP32", "FP64"})
_SENT_AS: Final = {
    "string": "BYTES",
    "timestamp": "BYTES",
    "integer": "INT64",
    "number": "FP64",
    "boolean": "BOOL",
}
TAKEN: Final = {
    "string": frozenset({"BYTES"}),
    "timestamp": frozenset({"BYTES"}),
    # Who sends a matrix has one type for all of it; 7.0 is taken for 7, and 7.5 is not.
    "integer": INTEGERS | NUMBERS,
    "number": INTEGERS | NUMBERS,
    "boolean": frozenset({"BOOL"}),
}
"""By the kind of a field, the datatypes that it may come as."""
BINARY: Final = "binary_data_size"
"""The parameter of a tensor whose data follows the JSON."""


class Tensor(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An input, as JSON carries it: flat, or nested as its shape is."""

    name: Annotated[str, Meta(min_length=1)]
    shape: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(min_length=1, max_length=2)]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] = {}


class Requested(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] = {}


class Infer(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A request to infer."""

    id: Annotated[str, Meta(max_length=1024)] | None = None
    inputs: Annotated[list[Tensor], Meta(min_length=1)]
    outputs: list[Requested] = []
    parameters: dict[str, Any] = {}


_DECODER: Final = msgspec.json.Decoder(Infer)


def read(
    body: bytes, contract: type[Contract], max_rows: int, entity: str | None
) -> tuple[Infer, Question | Unresolved]:
    """A request, and its rows.

    Args:
        entity: see `workloads.serving.request.parse`.

    Raises:
        BadRequest: it is none, or breaks the contract.
    """
    try:
        infer = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        words, _, where = str(error).partition(" - at `")
        raise whole(
            where.rstrip("`") or "$", shown(body), f"an inference request: {words}"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decoded(body)  # says what is wrong with it
        raise whole("$", shown(body), "a JSON object, UTF-8") from None
    binary = [one.name for one in infer.inputs if BINARY in one.parameters]
    if binary:
        raise whole(binary[0], "binary data", "`data` in JSON: the binary extension is not spoken")
    instances = _instances(infer.inputs, contract, max_rows, entity)
    return infer, judged(instances, _parameters(infer.parameters), contract, entity)


def _parameters(found: dict[str, Any]) -> Parameters | None:
    if not found:
        return None
    try:
        return msgspec.convert(found, Parameters)
    except msgspec.ValidationError:
        raise whole("parameters", shown(found), PARAMETERS) from None


def _instances(
    inputs: list[Tensor], contract: type[Contract], max_rows: int, entity: str | None
) -> list[Any]:
    if len(inputs) == 1 and inputs[0].name == ROWS:
        return _from_rows(inputs[0], contract, max_rows)
    known = {one.name: one for one in fields(contract)}
    count = inputs[0].shape[0]
    columns: dict[str, list[Any]] = {}
    for tensor in inputs:
        field = known.get(tensor.name)
        if field is None and tensor.name != entity:
            allowed = f"`{ROWS}` alone, or the fields {', '.join(known)}"
            raise whole(tensor.name, "an input", allowed)
        if tensor.name in columns:
            raise whole(tensor.name, "an input twice", "each field once")
        _holds(tensor, "string" if field is None else field.kind)
        if tensor.shape not in ([count], [count, 1]):
            allowed = f"[{count}] or [{count}, 1], as the first input has {count} rows"
            raise whole(tensor.name, f"of shape {tensor.shape}", allowed)
        columns[tensor.name] = _flat(tensor)
    _bounded(count, max_rows)
    nullable = {one.name for one in known.values() if one.nullable}
    return [
        {
            name: values[position]
            for name, values in columns.items()
            if values[position] is not None or name not in nullable
        }
        for position in range(count)
    ]


def _from_rows(tensor: Tensor, contract: type[Contract], max_rows: int) -> list[Any]:
    known = fields(contract)
    if tensor.datatype == "BYTES":
        if tensor.shape not in ([tensor.shape[0]], [tensor.shape[0], 1]):
            raise whole(ROWS, f"of shape {tensor.shape}", "[rows], each the JSON of one row")
        _bounded(tensor.shape[0], max_rows)
        return [_row(position, text) for position, text in enumerate(_flat(tensor))]
    texts = [one.name for one in known if one.kind not in ("integer", "number")]
    if texts:
        allowed = f"BYTES, each the JSON of one row: {', '.join(texts)} are no numbers"
        raise whole(ROWS, f"of datatype {tensor.datatype}", allowed)
    _holds(tensor, "number")
    if len(tensor.shape) != 2 or tensor.shape[1] != len(known):
        names = ", ".join(one.name for one in known)
        allowed = f"[rows, {len(known)}], in the order {names}"
        raise whole(ROWS, f"of shape {tensor.shape}", allowed)
    _bounded(tensor.shape[0], max_rows)
    flat, width = _flat(tensor), len(known)
    return [flat[start : start + width] for start in range(0, len(flat), width)]


def _row(position: int, text: Any) -> Any:
    try:
        if not isinstance(text, str):
            raise msgspec.DecodeError("not a text")
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        fault = Fault(
            row=position, field="$", value=shown(text), allowed=f"the JSON of one row ({error})"
        )
        raise BadRequest([fault], bad_rows=1) from None


def _bounded(rows: int, max_rows: int) -> None:
    if not 1 <= rows <= max_rows:
        raise whole("inputs", f"{rows} rows", f"1 to {max_rows} rows a request")


def _holds(tensor: Tensor, kind: str) -> None:
    taken = TAKEN[kind]
    if tensor.datatype not in taken:
        raise whole(
            tensor.name, f"of datatype {tensor.datatype!r}", f"one of {', '.join(sorted(taken))}"
        )


def _flat(tensor: Tensor) -> list[Any]:
    """The values in row-major order."""
    shape, data = tensor.shape, tensor.data
    if len(shape) == 2 and data and all(type(one) is list for one in data):
        if len(data) != shape[0] or any(len(one) != shape[1] for one in data):
            raise whole(tensor.name, "data of another shape", f"nested as shape {shape}, or flat")
        data = [value for one in data for value in one]
    size = shape[0] * (shape[1] if len(shape) == 2 else 1)
    if len(data) != size:
        raise whole(tensor.name, f"{len(data)} values", f"{size}, as shape {shape} says")
    return data


def answer(
    infer: Infer, manifest: Manifest, product: str, version: str, predicted: Predicted
) -> dict[str, Any]:
    """The body of an answer, with the outputs that were asked for; all where none was."""
    known = outputs(manifest, predicted)
    wanted = [one.name for one in infer.outputs] or list(known)
    document: dict[str, Any] = {
        "model_name": product,
        "model_version": version,
        "parameters": {"model": manifest.run},
        "outputs": [
            {
                "name": name,
                "shape": [len(predicted.value)],
                "datatype": known[name][0],
                "data": known[name][1],
            }
            for name in wanted
        ],
    }
    if infer.id is not None:
        document["id"] = infer.id
    return document


def outputs_known(infer: Infer, manifest: Manifest) -> None:
    """Hold a request to the outputs that there are.

    Raises:
        BadRequest: it asks for another one.
    """
    known = outputs(manifest, _nothing(manifest))
    for one in infer.outputs:
        if one.name not in known:
            raise whole("outputs", shown(one.name), f"of {', '.join(known)}")


def output_names(task: Task, label: str) -> tuple[str, ...]:
    """The outputs that a model of a task has."""
    return (label, "lower", "upper") if task is Task.REGRESSION else ("probability", label)


def outputs(manifest: Manifest, predicted: Predicted) -> dict[str, tuple[str, list[Any]]]:
    """By name, datatype and values."""
    names = output_names(manifest.task, manifest.label)
    if predicted.lower is not None and predicted.upper is not None:
        columns = (predicted.value, predicted.lower, predicted.upper)
        return {name: ("FP64", one) for name, one in zip(names, columns, strict=True)}
    threshold = manifest.threshold
    yes = [threshold is not None and one >= threshold for one in predicted.value]
    return {names[0]: ("FP64", predicted.value), names[1]: ("BOOL", yes)}


def metadata(
    manifest: Manifest, product: str, versions: list[str], contract: type[Contract]
) -> Any:
    """What `/v2/models/{name}` says of a model."""
    return {
        "name": product,
        "versions": versions,
        "platform": "onnx_onnxv1",
        "inputs": [_described(one) for one in fields(contract)],
        "outputs": [
            {"name": name, "datatype": kind, "shape": [-1]}
            for name, (kind, _) in outputs(manifest, _nothing(manifest)).items()
        ],
    }


def _nothing(manifest: Manifest) -> Predicted:
    """What a model says of no rows."""
    regression = manifest.task is Task.REGRESSION
    return Predicted([], [], []) if regression else Predicted([])


def _described(field: Field) -> dict[str, Any]:
    return {
        "name": field.name,
        "datatype": _SENT_AS[field.kind],
        "shape": [-1],
        "parameters": {"optional": field.nullable, "allowed": field.allowed},
    }
