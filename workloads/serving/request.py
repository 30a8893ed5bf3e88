"""What the endpoint is asked, and why it may refuse: rows as objects, or as arrays in the order of
the contract.

This is the thorough reading, which finds every fault and says all of it. Requests without a fault
never come here: `workloads/serving/reader.py` reads those in one pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from workloads.contracts import Contract, ContractViolation, convert, fields
from workloads.prediction_log.contract import Variant

MAX_FAULTS: Final = 20
"""Bad rows told of in one answer; more would repeat the same mistake."""

Text = Annotated[str, Meta(min_length=1, max_length=1024)]


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be said beside the rows. Nothing of it changes what a model answers."""

    key: Text | None = None
    """Whom an experiment's variant follows: one key always gets the same one."""
    entities: Annotated[list[Text], Meta(min_length=1)] | None = None
    """What each row is about, in their order, for the prediction log. Rows for which there is none
    are logged without, and one too many is about nothing."""
    variant: Variant | None = None
    """The part that this model plays, for the prediction log, where the caller chose the model."""


PARAMETERS: Final = (
    "`key`, a text; `entities`, texts, one for each row; `variant`, one of champion, challenger, "
    "shadow"
)


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

    @property
    def message(self) -> str:
        """The first fault, in a sentence."""
        first = self.faults[0]
        where = "" if first.row is None else f"row {first.row}: "
        return f"{where}field `{first.field}` is {first.value}; allowed: {first.allowed}"

    def document(self) -> dict[str, Any]:
        """The body of the answer."""
        error: dict[str, Any] = {
            "code": 422,
            "status": "INVALID_ARGUMENT",
            "message": self.message,
            "details": msgspec.to_builtins(self.faults),
        }
        if self.bad_rows is not None:
            error["bad_rows"] = self.bad_rows
        return {"error": error}


@dataclass(slots=True)
class Question:
    """A request without a fault."""

    rows: list[Any]
    """Rows of the contract, by attribute."""
    parameters: Parameters | None = None


@dataclass(slots=True)
class Unresolved:
    """A request some of whose rows name an entity and nothing else."""

    instances: list[Any]
    parameters: Parameters | None
    entities: dict[int, str] = field(default_factory=dict[int, str])
    """By the row's position."""


def parse(
    body: bytes, contract: type[Contract], max_rows: int, entity: str | None = None
) -> Question | Unresolved:
    """The rows of a request.

    Args:
        entity: the name by which a row may be asked for by its entity alone; none where features
            are not looked up.

    Raises:
        BadRequest: the body is no JSON of the right shape (JSON knows no NaN and no infinity), has
            no rows or too many, or rows break the contract; all bad rows are counted and the first
            of them described.
    """
    document = decoded(body)
    if type(document) is not dict:
        raise whole("$", shown(document), 'a JSON object `{"instances": [...]}`')
    for name in document:
        if name not in ("instances", "parameters"):
            raise whole(name, shown(document[name]), "the fields `instances` and `parameters`")
    instances = document.get("instances")
    if type(instances) is not list or not instances:
        found = "missing" if instances is None else shown(instances)
        raise whole("instances", found, f"a list of 1 to {max_rows} rows")
    if len(instances) > max_rows:
        raise whole("instances", f"{len(instances)} rows", f"at most {max_rows} rows a request")
    parameters = _parameters(document.get("parameters"))
    return judged(instances, parameters, contract, entity)


def judged(
    instances: list[Any],
    parameters: Parameters | None,
    contract: type[Contract],
    entity: str | None = None,
) -> Question | Unresolved:
    """Decoded rows, each held to the contract.

    Raises:
        BadRequest: rows break the contract.
    """
    if entity is not None:
        found = {
            position: one[entity]
            for position, one in enumerate(instances)
            if type(one) is dict and len(one) == 1 and type(one.get(entity)) is str and one[entity]
        }
        if found:
            return Unresolved(instances, parameters, found)
    integers = [one.name for one in fields(contract) if one.kind == "integer"]
    names = contract.__struct_fields__
    rows: list[Contract] = []
    faults: list[Fault] = []
    for position, instance in enumerate(instances):
        try:
            rows.append(convert(contract, _whole_numbers(_named(instance, names), integers)))
        except ContractViolation as bad:
            faults.append(
                Fault(row=position, field=bad.field, value=bad.value, allowed=bad.allowed)
            )
        except _TooLong as bad:
            allowed = f"at most {len(names)} values, in the order {', '.join(names)}"
            faults.append(Fault(row=position, field="$", value=str(bad), allowed=allowed))
    if faults:
        raise BadRequest(faults[:MAX_FAULTS], bad_rows=len(faults))
    return Question(rows, parameters)


def resolved(
    unresolved: Unresolved,
    features: Mapping[int, Mapping[str, Any] | None],
    contract: type[Contract],
    entity: str,
) -> Question:
    """The rows of a request whose entities were looked up.

    Args:
        features: by the row's position; none for an entity that is not known.

    Raises:
        BadRequest: an entity is not known, or its features break the contract.
    """
    unknown = [
        Fault(
            row=position,
            field=entity,
            value=repr(unresolved.entities[position]),
            allowed="one that has features online; or send its features",
        )
        for position, found in features.items()
        if found is None
    ]
    if unknown:
        raise BadRequest(unknown[:MAX_FAULTS], bad_rows=len(unknown))
    names = set(contract.__struct_fields__)
    instances = [
        one
        if (found := features.get(position)) is None
        else {name: value for name, value in found.items() if name in names}
        for position, one in enumerate(unresolved.instances)
    ]
    question = judged(instances, unresolved.parameters, contract)
    if not isinstance(question, Question):
        raise AssertionError("rows that were looked up are asked for again")
    if question.parameters is None or question.parameters.entities is None:
        known = [unresolved.entities.get(position, "") for position in range(len(instances))]
        given = question.parameters or Parameters()
        question.parameters = msgspec.structs.replace(given, entities=known)
    return question


def decoded(body: bytes) -> Any:
    """The JSON document of a body.

    Raises:
        BadRequest: it is none.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise whole("$", shown(body), f"a JSON object, UTF-8 ({error})") from None


def _parameters(found: Any) -> Parameters | None:
    if not found:
        if found is None or found == {}:
            return None
        raise whole("parameters", shown(found), PARAMETERS)
    try:
        return msgspec.convert(found, Parameters)
    except msgspec.ValidationError:
        raise whole("parameters", shown(found), PARAMETERS) from None


class _TooLong(Exception):
    """An array has more values than the contract has fields."""


def _named(instance: Any, names: Sequence[str]) -> Any:
    """A row that came as an array, with its values under their names."""
    if type(instance) is not list:
        return instance
    if len(instance) > len(names):
        raise _TooLong(f"{len(instance)} values")
    return dict(zip(names, instance, strict=False))


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


def whole(field: str, value: str, allowed: str) -> BadRequest:
    """The fault of a request as a whole."""
    return BadRequest([Fault(field=field, value=value, allowed=allowed)])


def shown(value: object, limit: int = 120) -> str:
    """A value as an error message shows it, shortened."""
    # Shortened first: the text of a million nested lists is longer than they are.
    text = value[:limit].decode("utf-8", "replace") if isinstance(value, bytes) else repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
