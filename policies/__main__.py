"""What the engine starts: serves the policies until it is ended."""

# The SDK has no public way to hear of the stack.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

# The engine starts this folder, from which its own package could not be imported.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import grpc
from google.protobuf import json_format
from pulumi_policy import PolicyPack, policy

from policies.environment import environment
from policies.exemption import faults, today
from policies.pack import NAME, POLICIES, set_levels


class _Analyzer(policy._PolicyAnalyzerServicer):
    """Hears what the SDK does not pass on to policies."""

    def Configure(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        """Refuse to judge by exemptions that have ended. Of them a policy sees its own only, and
        only where a resource is judged by it."""
        options: dict[str, Any] = {
            name: json_format.MessageToDict(one.properties)
            for name, one in request.policyConfig.items()
        }
        if found := list(faults(options, today())):
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "\n".join(found))
        return super().Configure(request, context)

    def ConfigureStack(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        """Set the levels by the stack's environment. The engine tells it before it asks which
        policies there are."""
        set_levels(POLICIES, environment(request.project, request.stack, request.config))
        return super().ConfigureStack(request, context)


policy._PolicyAnalyzerServicer = _Analyzer
PolicyPack(NAME, policies=POLICIES)
