"""Judges cases as the engine would, in the pack's environment: case a line in, verdict a line out.

A case: `rule`, `options`, and `resources` of `type`, `name`, `props`, `protected`, `provider`,
`unknown` (paths that have no value yet) and `from` (by property, names of resources that its value
comes from). A verdict: `violations` (name, message), `undecided`, `not_applicable`, `error`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pulumi_policy import (
    PolicyCustomTimeouts,
    PolicyProviderResource,
    PolicyResource,
    PolicyResourceOptions,
    ResourceValidationArgs,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.policy import _NotApplicableError
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, UnknownValueError, unknown_checking_proxy

from policies.pack import POLICIES

BY_NAME = {policy.name: policy for policy in POLICIES}


def judged(case: dict[str, Any]) -> dict[str, Any]:
    policy = BY_NAME[case["rule"]]
    verdict: dict[str, Any] = {"violations": [], "undecided": "", "not_applicable": "", "error": ""}
    resources = [_resource(one) for one in case["resources"]]
    try:
        if isinstance(policy, StackValidationPolicy):
            by_urn = {one.urn: one.name for one in resources}

            def note(message: str, urn: str | None = None) -> None:
                verdict["violations"].append([by_urn[urn or ""], message])

            _connect(resources, case["resources"])
            policy.validate(StackValidationArgs(resources, case["options"]), note)
        for one in resources if not isinstance(policy, StackValidationPolicy) else []:

            def report(message: str, _: str | None = None, name: str = one.name) -> None:
                verdict["violations"].append([name, message])

            args = ResourceValidationArgs(
                one.resource_type,
                one.props,
                one.urn,
                one.name,
                one.opts,
                one.provider,
                case["options"],
            )
            policy.validate(args, report)
    except UnknownValueError as unknown:
        verdict["undecided"] = unknown.message
    except _NotApplicableError as reason:
        verdict["not_applicable"] = reason.message
    except ValueError as error:
        verdict["error"] = f"{type(error).__name__}: {error}"
    return verdict


def _resource(given: dict[str, Any]) -> PolicyResource:
    props = json.loads(json.dumps(given["props"]))
    for path in given.get("unknown", ()):
        _forget(props, path)
    urn = f"urn:pulumi:prod::esteira::{given['type']}::{given['name']}"
    options = PolicyResourceOptions(
        given.get("protected", False), [], None, [], PolicyCustomTimeouts(0, 0, 0), []
    )
    provider = PolicyProviderResource(
        "pulumi:providers:gcp", unknown_checking_proxy(given.get("provider", {})), "urn", "gcp"
    )
    return PolicyResource(
        given["type"],
        unknown_checking_proxy(props),
        urn,
        given["name"],
        options,
        provider,
        None,
        [],
        {},
    )


def _connect(resources: list[PolicyResource], given: list[dict[str, Any]]) -> None:
    by_name = {one.name: one for one in resources}
    for resource, case in zip(resources, given, strict=True):
        for name, sources in case.get("from", {}).items():
            resource.property_dependencies[name] = [
                by_name.get(source) or _resource({"type": "x", "name": source, "props": {}})
                for source in sources
            ]


def _forget(props: Any, path: list[str | int]) -> None:
    for part in path[:-1]:
        props = props[part]
    props[path[-1]] = UNKNOWN_STRING_VALUE


for line in sys.stdin:
    sys.stdout.write(json.dumps(judged(json.loads(line))) + "\n")
    sys.stdout.flush()
