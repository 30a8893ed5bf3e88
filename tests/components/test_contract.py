"""What every component must keep, whichever it is."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any, Final, get_type_hints

import pulumi
import pytest

import components
from examples.components import data, foundation, models, operations

MODULES: Final = (foundation, data, models, operations)


def _samples() -> dict[type[pulumi.ComponentResource], Callable[[pulumi.ResourceOptions], Any]]:
    found: dict[type[pulumi.ComponentResource], Callable[[pulumi.ResourceOptions], Any]] = {}
    for module in MODULES:
        for _, example in inspect.getmembers(module, inspect.isfunction):
            if example.__module__ == module.__name__:
                component = get_type_hints(example)["return"]
                assert component not in found, f"{component.__name__} has two examples"
                found[component] = example
    return found


SAMPLES: Final = _samples()
"""By component, its example in docs/components.md, whose arguments reach all its branches."""

every_component = pytest.mark.parametrize("component", SAMPLES, ids=lambda one: one.__name__)


def test_every_component_is_held_to_this_contract() -> None:
    found: set[type] = set()
    for module in pkgutil.iter_modules(components.__path__):
        members = vars(importlib.import_module(f"components.{module.name}")).values()
        found |= {
            one
            for one in members
            if inspect.isclass(one)
            and issubclass(one, pulumi.ComponentResource)
            and one.__module__ == f"components.{module.name}"
        }
    assert found == set(SAMPLES)


@every_component
def test_arguments_are_frozen_and_given_by_keyword(component: type) -> None:
    parameters = inspect.signature(component.__init__).parameters
    assert list(parameters) == ["self", "name", "args", "opts"]
    assert parameters["args"].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters["opts"].kind is inspect.Parameter.KEYWORD_ONLY
    args: Any = getattr(importlib.import_module(component.__module__), f"{component.__name__}Args")
    assert args.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(args))


@pytest.fixture(scope="module")
def known() -> dict[type, Any]:
    """What was declared already, by its component."""
    return {}


@pytest.fixture
def declared(component: type, known: dict[type, Any], declare: Any) -> Any:
    """The component's sample, declared once for all who look at it."""
    if component not in known:
        known[component] = declare(SAMPLES[component])
    return known[component]


@every_component
def test_token_names_module_and_type(component: type, declared: Any) -> None:
    module = component.__module__.removeprefix("components.")
    assert declared.result.pulumi_resource_type == f"esteira:{module}:{component.__name__}"


@every_component
def test_children_have_the_component_as_parent(component: Any, declared: Any) -> None:
    # Made for the sample and not by the component:
    given = {"models", "raw", "features", "images", "caller", "t", "store", "labelled"}
    parents: dict[str, str] = {}
    for urn in declared.monitor.resources:
        qualified, _, name = urn.split("::", 2)[2].partition("::")
        if name not in given:
            parent, _, token = qualified.rpartition("$")
            parents[f"{token} {name}"] = parent
    roots = [one for one, parent in parents.items() if not parent.startswith("esteira:")]
    assert all(one.startswith("esteira:") for one in roots), roots
    assert len(parents) > len(roots)


@every_component
def test_children_get_the_labels_of_the_provider(declared: Any, labels: dict[str, str]) -> None:
    labelled = [one for one in declared.mocks.made if "effectiveLabels" in one.outputs]
    for resource in labelled:
        assert labels.items() <= resource.outputs["effectiveLabels"].items(), resource.name


@every_component
def test_outputs_are_registered_and_none_is_missing(declared: Any) -> None:
    # A value of None is dropped on the way to the engine.
    arrived = {
        urn.split("::", 2)[2].rpartition("$")[2]: set(outputs)
        for urn, outputs in declared.monitor.outputs.items()
        if "$esteira:" in urn
    }
    assert all(declared.promised.values())
    assert arrived == declared.promised
    assert set(arrived) == {f"{token}::{name}" for token, name in declared.mocks.components}


@every_component
def test_attributes_are_set(component: Any, declared: Any) -> None:
    for name in inspect.get_annotations(component):
        assert getattr(declared.result, name) is not None, name


@every_component
def test_everything_public_says_what_it_is(component: type) -> None:
    assert inspect.getdoc(component) != inspect.getdoc(pulumi.ComponentResource)
    args: Any = getattr(importlib.import_module(component.__module__), f"{component.__name__}Args")
    assert not args.__doc__.startswith(f"{args.__name__}(")
