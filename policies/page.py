"""Writes the page that lists the policies: `python -m policies.page` from the checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from policies.catalogue import GROUPS, RULES
from policies.rule import AnyRule, Level

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "policies.md"
OPENING: Final = """\
# Policies

<!-- Generated from the rules in policies/: `python -m policies.page`. -->

What every stack is held to, in each preview and each update. Of {total} policies, {mandatory} are
mandatory: a violation stops the update. {in_prod} are mandatory in prod and advisory elsewhere, and
{advisory} are advisory everywhere: a violation is shown, and nothing more. A stack's environment is
its setting `esteira:environment`; where there is none, its name; else it is held to what prod is.

A value that is not known in the preview is judged in the update, before the resource is made.

```
esteira policies list                 # this page, shorter
esteira policies check prod           # judge a stack; needs no credentials
PATH=$PATH:tools/policies pulumi up -s prod --policy-pack tools/policies \\
  --policy-pack-config policies/config.json
```

`tools/policies` starts the pack by itself. Where Pulumi's own installation brings its Python
language host, `--policy-pack policies` does the same.

Each policy has the option `exemptions`, in `policies/config.json` under its name: the pattern of
the urns (`urn`), why they may break it (`reason`), and the last day on which they may (`expires`).
An exemption without a reason is refused. After its last day (in UTC) it no longer helps, and fails
every preview and update until it is taken out, whatever it covers: so none is forgotten.

References: CIS is the CIS Google Cloud Foundations Benchmark, GKE the CIS Google Kubernetes Engine
Benchmark 1.6, CKV a check of Checkov; `house` is a rule of our own.
"""


def page() -> str:
    """The page as Markdown."""
    counts = {level: sum(rule.level is level for rule in RULES) for level in Level}
    parts = [
        OPENING.format(
            total=len(RULES),
            mandatory=counts[Level.MANDATORY],
            in_prod=counts[Level.IN_PROD],
            advisory=counts[Level.ADVISORY],
        )
    ]
    for title, rules in GROUPS.items():
        parts.append(f"## {title}\n")
        parts.append("| Policy | What has to be so | Level | Severity | References | To mend |")
        parts.append("|---|---|---|---|---|---|")
        parts.extend(_row(rule) for rule in rules)
        parts.append("")
    optional = [rule for rule in RULES if rule.options]
    parts.append("## Options\n")
    parts.append("| Policy | Option | What it says | Default |")
    parts.append("|---|---|---|---|")
    for rule in optional:
        for name, schema in rule.options.items():
            default = ", ".join(f"`{one}`" for one in schema["default"])
            parts.append(f"| `{rule.name}` | `{name}` | {schema['description']} | {default} |")
    return "\n".join(parts) + "\n"


def _row(rule: AnyRule) -> str:
    cells = (
        f"`{rule.name}`",
        rule.description,
        rule.level.value,
        rule.severity.value,
        ", ".join(rule.references),
        rule.remedy,
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
