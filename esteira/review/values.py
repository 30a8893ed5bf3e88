"""Property values as a reviewer may see them: secrets hidden, machine paths relative.

A digest carries what is not known yet as one magic string, assets as signed maps, and secrets
blinded; but a secret that the program forgot to mark comes in clear text, so names count as well.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from localcloud.provider.values import (
    ARCHIVE,
    ASSET,
    SECRET,
    SIGNATURE,
    UNKNOWN,
    UNKNOWN_WIRE,
)

BLINDED: Final = "[secret]"
"""What the engine writes in a secret's place."""

# Properties of pulumi-gcp, kubernetes and docker that hold a secret whether it is marked or not.
_SECRET_NAME: Final = re.compile(
    r"(?:^|[a-z_])(?:passw(?:or)?d|passphrase)(?:Wo)?$|^(?:root|admin|user)?password(?:Wo)?$"
    r"|^secretData(?:Wo)?$|^privateKey(?:Data)?$|^(?:auth|access|bearer|refresh|id|api)Token$"
    r"|^(?:client|shared|hmac|token)Secret(?:Wo)?$|^(?:api|service|secretAccess|rawEncryption)Key$"
    r"|^token$|^credentials$|^stringData$|^sensitiveLabels$|^plaintext$|^rawKey$",
    re.IGNORECASE,
)
_SECRET_VARIABLE: Final = re.compile(
    r"(?:PASSWORD|PASSWD|PASSPHRASE|TOKEN|SECRET|CREDENTIALS?|PRIVATE_KEY|API_KEY|WEBHOOK_URL)$"
)


@dataclass(frozen=True)
class Hidden:
    """A secret. Two are equal if their values are, as far as that is known."""

    fingerprint: str = field(default="", repr=False)


@dataclass(frozen=True)
class File:
    """An asset or archive: where it came from, and the hash of what is in it."""

    source: str
    hash: str


def cleaned(inputs: Mapping[str, Any], root: Path, secrets: Iterable[str] = ()) -> dict[str, Any]:
    """Properties ready to be compared and shown.

    Args:
        inputs: As they stand in a digest.
        root: The checkout whose program they come from; paths below it become relative.
        secrets: Top-level properties that are secret.
    """
    hidden = set(secrets)
    return {
        name: _hidden(value) if name in hidden else _clean(name, value, str(root))
        for name, value in inputs.items()
        if not name.startswith("__")
    }


def unknown_in(value: Any) -> bool:
    """Whether a part of a value is not known yet."""
    if isinstance(value, Mapping):
        return any(unknown_in(one) for one in value.values())
    if isinstance(value, list):
        return any(unknown_in(one) for one in value)
    return value is UNKNOWN


def shown(value: Any) -> str:
    """A value on one line. Nothing that could end the line or turn it around is left in it."""
    return visible(json.dumps(_plain(value), ensure_ascii=False, sort_keys=True))


def visible(text: str) -> str:
    """With control characters and those that change the direction of writing spelt out."""
    return "".join(
        f"\\u{ord(c):04x}"
        if c != "\t" and (ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or _turns(ord(c)))
        else c
        for c in text
    )


def _turns(code: int) -> bool:
    return 0x200B <= code <= 0x200F or 0x2028 <= code <= 0x202E or 0x2060 <= code <= 0x206F


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, Hidden):
        return BLINDED
    if value is UNKNOWN:
        return "known after it is made"
    if isinstance(value, File):
        return f"{value.source} ({value.hash[:12]})" if value.hash else value.source
    return value


def _clean(name: str, value: Any, root: str) -> Any:
    if _SECRET_NAME.search(name) and not isinstance(value, bool):
        return _hidden(value)
    if isinstance(value, Mapping):
        return _map(value, root)
    if isinstance(value, list):
        return [_clean("", one, root) for one in value]
    if isinstance(value, str):
        if value == BLINDED:
            return Hidden()
        if UNKNOWN_WIRE in value:
            # A text with an unknown part is not known as a whole.
            return UNKNOWN
        return "." if value == root else value.replace(f"{root}/", "")
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _map(value: Mapping[str, Any], root: str) -> Any:
    sign = value.get(SIGNATURE)
    if sign == SECRET:
        return _hidden(value.get("plaintext", value.get("value", BLINDED)))
    if sign in (ASSET, ARCHIVE):
        return File(_source(value, root), str(value.get("hash", "")))
    # An environment variable: the one property names what the other holds.
    if _SECRET_VARIABLE.search(str(value.get("name", "")).upper()) and "value" in value:
        rest = {key: one for key, one in value.items() if key != "value"}
        return {**_map(rest, root), "value": _hidden(value["value"])}
    return {key: _clean(key, one, root) for key, one in value.items() if not key.startswith("__")}


def _source(value: Mapping[str, Any], root: str) -> str:
    for key in ("path", "uri"):
        if value.get(key):
            return str(value[key]).replace(f"{root}/", "")
    return "a text" if "text" in value else "an archive"


def _hidden(value: Any) -> Any:
    if value == BLINDED or isinstance(value, Hidden):
        return Hidden()
    if isinstance(value, str) and UNKNOWN_WIRE in value:
        return UNKNOWN
    if isinstance(value, Mapping) and value.get(SIGNATURE) == SECRET:
        return _hidden(value.get("plaintext", value.get("value", BLINDED)))
    text = json.dumps(value, sort_keys=True, default=str)
    return Hidden(hashlib.sha256(text.encode()).hexdigest())
