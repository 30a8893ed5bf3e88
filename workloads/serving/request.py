"""What the endpoint is asked, and why it may refuse."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from workloads.contracts import Contract, ContractViolation, convert, fields

MAX_FAULTS: Final = 20
"""Bad rows told of in one answer; more would repeat the same mistake."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with a request."""

    field: str
    value: str
    allowed: str
    row: int | None = None
    """Position in `instances`, from 0; null when the request as a whole is wrong."""


class BadRequest(Exception):
    """A request that breaks the contract."""

    def __init__(self, faults: list[Fault], bad_rows: int | None = None) -> None:
        self.faults = faults
        self.bad_rows = bad_rows
        super().__init__(f"{len(faults)} faults, the first: {faults[0]}")

    def document(self) -> dict[str, Any]:
        """The body of the answer."""
        first = self.faults[0]
        where = "" if first.row is None else f"row {first.row}: "
        error: dict[str, Any] = {
            "code": 422,
            "status": "INVALID_ARGUMENT",
            "message": f"{where}field `{first.field}` is {first.value}; allowed: {first.allowed}",
            "details": msgspec.to_builtins(self.faults),
        }
        if self.bad_rows is not None:
            error["bad_rows"] = self.bad_rows
        return {"error": error}


def parse(body: bytes, contract: type[Contract], max_rows: int) -> list[Contract]:
    """The rows of a request.

    Raises:
        BadRequest: the body is no JSON of the right shape (JSON knows no NaN and no infinity), has
            no rows or too many, or rows break the contract; all bad rows are counted and the first
            of them described.
    """
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _whole("$", _shown(body), f"a JSON object, UTF-8 ({error})") from None
    if type(document) is not dict:
        raise _whole("$", _shown(document), 'a JSON object `{"instances": [...]}`')
    for name in document:
        if name not in ("instances", "parameters"):
            raise _whole(name, _shown(document[name]), "the fields `instances` and `parameters`")
    if document.get("parameters"):
        raise _whole("parameters", _shown(document["parameters"]), "nothing: there are none")
    instances = document.get("instances")
    if type(instances) is not list or not instances:
        found = "missing" if instances is None else _shown(instances)
        raise _whole("instances", found, f"a list of 1 to {max_rows} rows")
    if len(instances) > max_rows:
        raise _whole("instances", f"{len(instances)} rows", f"at most {max_rows} rows a request")
    integers = [one.name for one in fields(contract) if one.kind == "integer"]
    rows: list[Contract] = []
    faults: list[Fault] = []
    for position, instance in enumerate(instances):
        try:
            rows.append(convert(contract, _whole_numbers(instance, integers)))
        except ContractViolation as bad:
            faults.append(
                Fault(row=position, field=bad.field, value=bad.value, allowed=bad.allowed)
            )
    if faults:
        raise BadRequest(faults[:MAX_FAULTS], bad_rows=len(faults))
    return rows


def _whole_numbers(instance: Any, integers: list[str]) -> Any:
    """The row with 7.0 as 7 where an integer is meant.

    Vertex AI and its SDK carry rows as protobuf values, which know one kind of number: what was
    sent as 7 arrives as 7.0.
    """
    if type(instance) is not dict:
        return instance
    found = {
        name: int(value)
        for name in integers
        if type(value := instance.get(name)) is float and value.is_integer()
    }
    return {**instance, **found} if found else instance


def _whole(field: str, value: str, allowed: str) -> BadRequest:
    return BadRequest([Fault(field=field, value=value, allowed=allowed)])


def _shown(value: object, limit: int = 120) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
