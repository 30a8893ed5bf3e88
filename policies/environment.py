"""How the pack learns which environment it judges.

The engine tells a pack the stack's name and configuration before it asks for the policies. What
decides is, in this order: the stack's setting `<project>:environment`; the stack's name, if it is
that of an environment; else prod, the strictest. So a stack that does not say what it is for is
held to all that prod is held to.
"""

from __future__ import annotations

from collections.abc import Mapping

from policies.rule import Environment


def environment(project: str, stack: str, configuration: Mapping[str, str]) -> Environment:
    """The environment of a stack.

    Args:
        project: The Pulumi project, the namespace of its settings.
        stack: The stack's name, without organization.
        configuration: The stack's settings by their whole keys, `esteira:environment`.
    """
    named = configuration.get(f"{project}:environment") or stack
    try:
        return Environment(named)
    except ValueError:
        return Environment.PROD
