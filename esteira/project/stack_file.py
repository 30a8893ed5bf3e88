"""`Pulumi.<stack>.yaml`: read for its settings, told which key encrypts the stack's secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import yaml

from esteira.project.calls import Calls
from esteira.project.refusals import refused
from esteira.project.step import Change
from stacks.settings import NAMESPACE, Settings

_PROVIDER = re.compile(r"^secretsprovider:.*\n?", re.MULTILINE)


class UnknownStack(ValueError):
    """There is no settings file of that name."""


def settings(stack: str, folder: Path) -> Settings:
    """The settings of a stack.

    Raises:
        UnknownStack: it has no file.
        SettingsError: the file's settings cannot be used.
    """
    file = folder / f"Pulumi.{stack}.yaml"
    if not file.exists():
        there = sorted(one.name.split(".")[1] for one in folder.glob("Pulumi.*.yaml"))
        raise UnknownStack(
            f"no stack {stack!r}: there is no {file.name}; there are: {', '.join(there)}"
        )
    config: dict[str, Any] = (yaml.safe_load(file.read_text()) or {}).get("config") or {}
    prefix = f"{NAMESPACE}:"
    return Settings.from_values(
        {key.removeprefix(prefix): one for key, one in config.items() if key.startswith(prefix)}
    )


@final
@dataclass(kw_only=True)
class SecretsProvider:
    """The settings file names the key. It is not a secret; what it encrypts is."""

    file: Path
    provider: str
    subject: str = "Secrets provider"

    def look(self, calls: Calls) -> dict[str, Any]:
        del calls
        return yaml.safe_load(self.file.read_text()) or {}

    def changes(self, found: dict[str, Any]) -> Sequence[Change]:
        stack = self.file.name.split(".")[1]
        now = found.get("secretsprovider")
        if now == self.provider:
            return ()
        if found.get("encryptionsalt") or found.get("encryptedkey"):
            # Secrets may be in the state already, readable only with what they were written with.
            raise refused(
                f"{self.file.name} encrypts with {now or 'a passphrase'} already",
                f'pulumi stack change-secrets-provider "{self.provider}" -s {stack}',
                who="whoever can decrypt with the present one",
            )
        return [
            Change(what=f"{self.file.name}: secretsprovider: {self.provider}", edit=self._write)
        ]

    def notes(self, found: Any) -> Sequence[str]:
        del found
        return ()

    def _write(self) -> None:
        # As text and not as YAML: comments stay.
        text = _PROVIDER.sub("", self.file.read_text())
        draft = self.file.with_name(f".{self.file.name}.{os.getpid()}")
        draft.write_text(f"secretsprovider: {self.provider}\n{text}")
        draft.replace(self.file)
