"""The rules as Pulumi's policies. Importing this starts nothing; `__main__` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyComplianceFramework,
    PolicyConfigSchema,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    Severity,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from policies.catalogue import BY_NAME, RULES
from policies.exemption import SCHEMA, Exemptions, today
from policies.rule import AnyRule, Environment, Resource, Rule, StackRule

NAME: Final = "esteira"
FRAMEWORKS: Final = {
    "CIS": "CIS Google Cloud Foundations Benchmark",
    "GKE": "CIS Google Kubernetes Engine Benchmark",
}
"""By the first word of a reference. The others, Checkov's and our own, are tags."""
GKE_VERSION: Final = "1.6"


def set_levels(policies: Sequence[Policy], environment: Environment) -> None:
    """Give each policy the level that its rule has in an environment."""
    for one in policies:
        binds = BY_NAME[one.name].level.binds(environment)
        one.enforcement_level = EnforcementLevel.MANDATORY if binds else EnforcementLevel.ADVISORY


def policy(rule: AnyRule) -> Policy:
    """One rule as a policy, without a level."""
    shared: dict[str, Any] = {
        "name": rule.name,
        "description": rule.description,
        "severity": Severity(rule.severity.value),
        "framework": _framework(rule.references),
        "tags": list(rule.references),
        "remediation_steps": rule.remedy,
        "config_schema": PolicyConfigSchema(
            {**{name: dict(one) for name, one in rule.options.items()}, "exemptions": dict(SCHEMA)}
        ),
    }
    if isinstance(rule, StackRule):
        return StackValidationPolicy(validate=_stack_validation(rule), **shared)
    return ResourceValidationPolicy(validate=_validation(rule), **shared)


def _framework(references: Sequence[str]) -> PolicyComplianceFramework | None:
    for reference in references:
        word, _, number = reference.partition(" ")
        if word in FRAMEWORKS:
            return PolicyComplianceFramework(
                name=FRAMEWORKS[word],
                version=GKE_VERSION if word == "GKE" else None,
                reference=number,
            )
    return None


def _validation(rule: Rule) -> Callable[[ResourceValidationArgs, ReportViolation], None]:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        if not rule.judges(args.resource_type):
            args.not_applicable(f"judges only {', '.join(rule.types)}")
        options = _options(rule, args.get_config())
        exemptions = Exemptions.of(rule.name, options, today())
        resource = Resource(
            type=args.resource_type,
            name=args.name,
            urn=args.urn,
            props=args.props,
            protected=args.opts.protect,
            provider=args.provider.props if args.provider else {},
            options=options,
        )
        if reason := rule.spared(resource):
            args.not_applicable(reason)
        if allowed := exemptions.allows(resource.urn):
            args.not_applicable(f"exempt until {allowed.expires}: {allowed.reason}")
        undecided: UnknownValueError | None = None
        for check in rule.checks:
            try:
                for fault in check(resource):
                    report(_message(rule, fault), None)
            except UnknownValueError as unknown:
                undecided = undecided or unknown
        if undecided is not None:
            raise undecided

    return validate


def _stack_validation(rule: StackRule) -> Callable[[StackValidationArgs, ReportViolation], None]:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        options = _options(rule, args.get_config())
        exemptions = Exemptions.of(rule.name, options, today())
        judged = [
            Resource(
                type=one.resource_type,
                name=one.name,
                urn=one.urn,
                props=one.props,
                protected=one.opts.protect,
                provider=one.provider.props if one.provider else {},
                options=options,
                made_from={
                    name: [source.urn for source in sources]
                    for name, sources in one.property_dependencies.items()
                },
            )
            for one in args.resources
            if one.resource_type in rule.types
        ]
        if not judged:
            args.not_applicable(f"judges only {', '.join(rule.types)}")
        for resource, fault in rule.check(judged):
            if exemptions.allows(resource.urn) is None:
                report(_message(rule, fault), resource.urn)

    return validate


def _options(rule: AnyRule, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the rule was configured with, and its defaults for all else."""
    defaults = {name: one["default"] for name, one in rule.options.items()}
    return {**defaults, **(given or {})}


def _message(rule: AnyRule, fault: str) -> str:
    return "\n".join([fault, f"To mend: {rule.remedy}", f"Reference: {', '.join(rule.references)}"])


POLICIES: Final = [policy(rule) for rule in RULES]
"""Every policy, as it is in prod until `set_levels` says otherwise."""
set_levels(POLICIES, Environment.PROD)
