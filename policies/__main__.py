"""What the engine starts: serves the policies until it is ended."""

# The SDK has no public way to hear of the stack.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

# The engine starts this folder, from which its own package could not be imported.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pulumi_policy import PolicyPack, policy

from policies.environment import environment
from policies.pack import NAME, POLICIES, set_levels


class _Analyzer(policy._PolicyAnalyzerServicer):
    """Hears of the stack what the SDK does not pass on to policies, and sets their levels by it.

    The engine does so before it asks which policies there are.
    """

    def ConfigureStack(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        set_levels(POLICIES, environment(request.project, request.stack, request.config))
        return super().ConfigureStack(request, context)


policy._PolicyAnalyzerServicer = _Analyzer
PolicyPack(NAME, policies=POLICIES)
