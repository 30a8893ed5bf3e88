"""The policy pack, as the engine runs it: where it lies, whether it can run, what it found."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any, Final

from pulumi.automation.events import DiagnosticEvent, PolicyEvent

from esteira.paths import ROOT
from policies.catalogue import BY_NAME

PYTHON: Final = ROOT / "policies" / ".venv" / "bin" / "python"
CONFIG: Final = ROOT / "policies" / "config.json"
"""Regions, labels and exemptions, as `pulumi --policy-pack-config` takes them."""
PACK: Final = ROOT / "tools" / "policies"
"""The pack's other way in, which needs no language host, with the executable that starts it."""

STARTER: Final = "pulumi-analyzer-policy-esteira"


class NoPolicies(RuntimeError):
    """The pack cannot run; the message says how to mend that."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a policy has to say of one resource."""

    policy: str
    mandatory: bool
    """Whether it stops the update."""
    decided: bool
    """False where a value is not known yet: `up` decides, before it makes the resource."""
    resource: str
    """The urn; empty where the engine does not tell."""
    message: str
    remedy: str
    references: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        return asdict(self)


def ready() -> bool:
    """Whether the pack's own environment has been made."""
    return PYTHON.exists()


def judging() -> dict[str, Any]:
    """The pack and its configuration as the Automation API takes them; none if it cannot run."""
    return {"policy_packs": [str(PACK)], "policy_pack_configs": [str(CONFIG)]} if ready() else {}


def require() -> None:
    """Make sure that the pack can run.

    Raises:
        NoPolicies: its environment has not been made.
    """
    if not ready():
        raise NoPolicies(f"the policies need {PYTHON.parent.parent}; make it with `make setup`")


def environment() -> dict[str, str]:
    """Variables with which the engine finds how to start the pack."""
    return {"PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), str(PACK)])}


def finding(event: PolicyEvent) -> Finding:
    """What an event of the engine says, with the rule's own words on mending."""
    rule = BY_NAME.get(event.policy_name)
    lines = plain(event.message).strip().splitlines()
    decided = not any("during preview:" in line for line in lines)
    kept = [line for line in lines if not line.startswith(("To mend: ", "Reference: "))]
    if rule is not None and len(kept) > 1 and kept[0] == rule.description:
        kept = kept[1:]
    return Finding(
        policy=event.policy_name,
        mandatory=event.enforcement_level == "mandatory",
        decided=decided,
        resource=event.resource_urn or "",
        message="\n".join(kept),
        remedy=rule.remedy if rule else "",
        references=rule.references if rule else (),
    )


def expected(event: DiagnosticEvent) -> bool:
    """Whether the engine only says what is known: that the pack's starter is on the path, as it is
    on purpose; or that an operation failed, after it has said why."""
    if event.severity == "warning":
        return f"using {STARTER} from $PATH" in event.message
    return plain(event.message).strip() in ("preview failed", "update failed")


def plain(message: str) -> str:
    """Without the engine's colour marks, `<{%fg 1%}>`."""
    while (start := message.find("<{%")) >= 0 and (end := message.find("%}>", start)) >= 0:
        message = message[:start] + message[end + 3 :]
    return message
