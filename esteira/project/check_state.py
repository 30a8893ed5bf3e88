"""Checks: what bootstrap made is there and can be reached by the caller."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from esteira.project.finding import Context, Finding, Status, ok

_OBJECTS: Final = (
    "storage.objects.create",
    "storage.objects.delete",
    "storage.objects.get",
    "storage.objects.list",
)
"""What Pulumi does with its state."""
_CIPHER: Final = (
    "cloudkms.cryptoKeyVersions.useToDecrypt",
    "cloudkms.cryptoKeyVersions.useToEncrypt",
)


def bucket(context: Context) -> Iterable[Finding]:
    """The state bucket is there, keeps versions, and lets the caller in."""
    name = context.names.bucket
    buckets = context.api("storage", "v1").buckets()
    found = context.calls.read(buckets.get(bucket=name, projection="noAcl"))
    if found is None:
        yield Finding(
            subject="State bucket",
            status=Status.FAILURE,
            found=f"there is no gs://{name}",
            means="Pulumi has nowhere to keep the state",
            mend=(context.bootstrap,),
        )
        return
    if not found.get("versioning", {}).get("enabled"):
        yield Finding(
            subject="State bucket",
            status=Status.WARNING,
            found=f"gs://{name} keeps no old versions",
            means="a state that was damaged cannot be brought back",
            mend=(context.bootstrap,),
        )
    answer = context.calls.read(buckets.testIamPermissions(bucket=name, permissions=[*_OBJECTS]))
    held = (answer or {}).get("permissions", ())
    yield _reached(context, "State bucket", f"gs://{name}", _OBJECTS, held)


def key(context: Context) -> Iterable[Finding]:
    """The key of Pulumi's secrets can encrypt, and the settings file names it."""
    name = context.names.secrets_key
    keys = context.api("cloudkms", "v1").projects().locations().keyRings().cryptoKeys()
    found = context.calls.read(keys.get(name=name))
    state = (found or {}).get("primary", {}).get("state", "missing")
    if state != "ENABLED":
        yield Finding(
            subject="Secrets key",
            status=Status.FAILURE,
            found=f"{name} is {state}",
            means="Pulumi can neither write nor read the stack's secrets",
            mend=(context.bootstrap,),
        )
        return
    wanted = context.names.secrets_provider
    if context.secrets_provider != wanted:
        yield Finding(
            subject="Secrets key",
            status=Status.FAILURE,
            found=f"Pulumi.{context.stack}.yaml has the secretsprovider "
            f"{context.secrets_provider or 'of a passphrase'}, not {wanted}",
            means="secrets would be encrypted with something else",
            mend=(context.bootstrap,),
        )
    answer = context.calls.read(
        keys.testIamPermissions(resource=name, body={"permissions": [*_CIPHER]})
    )
    held = (answer or {}).get("permissions", ())
    yield _reached(context, "Secrets key", name, _CIPHER, held)


def _reached(
    context: Context, subject: str, what: str, wanted: Iterable[str], held: Iterable[str]
) -> Finding:
    missing = [one for one in wanted if one not in held]
    if not missing:
        return ok(subject, f"{what} is there")
    return Finding(
        subject=subject,
        status=Status.FAILURE,
        found=f"{context.calls.principal or 'the caller'} lacks {', '.join(missing)} on {what}",
        means="only the account that deploys may use it",
        mend=(context.impersonate,),
        who="whoever bootstrap was given with --deployer",
    )
