"""Customer-managed keys: one for each service, which only that service's agents may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts
from components.propagation import Propagation

ROTATION_DAYS: Final = 90
"""The most that CIS Google Cloud Foundations 1.10 allows."""
ROLE: Final = "roles/cloudkms.cryptoKeyEncrypterDecrypter"


@dataclass(frozen=True, kw_only=True)
class EncryptionKeyArgs:
    """What keys need.

    Raises:
        InvalidArgs: at construction, when a service has no name for a key or nobody who may use
            it, or the rotation is too slow.
    """

    location: str
    """The region of all that they encrypt."""
    encrypters: Mapping[str, Mapping[str, pulumi.Input[str]]]
    """By service, who may encrypt and decrypt with its key: members by a short name."""
    rotation_days: int = ROTATION_DAYS
    """Age at which a key is replaced for new data, 1 to 90."""
    propagation_seconds: int = 0
    """How long Google needs until all of it knows of a role that was granted; 0 to 600."""
    protect: bool = True
    """A destroyed key makes what it encrypted unreadable for ever."""

    def __post_init__(self) -> None:
        checks.between(
            "EncryptionKey", "rotation_days", self.rotation_days, 1, ROTATION_DAYS, "days"
        )
        checks.between(
            "EncryptionKey", "propagation_seconds", self.propagation_seconds, 0, 600, "seconds"
        )
        if not self.encrypters:
            raise checks.InvalidArgs(
                "EncryptionKey", "encrypters", dict(self.encrypters), "at least one service"
            )
        for service, members in self.encrypters.items():
            checks.matches("EncryptionKey", "encrypters", service, checks.SERVICE)
            if not members:
                raise checks.InvalidArgs(
                    "EncryptionKey",
                    f"encrypters[{service!r}]",
                    dict(members),
                    "at least one member: a key that nobody may use encrypts nothing",
                )


class EncryptionKey(pulumi.ComponentResource):
    """Key ring `<name>` with a key named after each service.

    Google keeps the names of rings and keys for ever, even when they are gone.
    """

    ring: gcp.kms.KeyRing
    keys: dict[str, gcp.kms.CryptoKey]
    """By service."""
    ids: dict[str, pulumi.Output[str]]
    """The keys' names by service, each known once every encrypter of its service may use it: what
    takes a key from here is never made too early."""

    def __init__(
        self, name: str, *, args: EncryptionKeyArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:encryption_key:EncryptionKey", name, {}, opts)
        self.ring = gcp.kms.KeyRing(
            name,
            name=name,
            location=args.location,
            opts=child_opts(self, protect=args.protect),
        )
        propagation = Propagation(f"keys:{name}", seconds=args.propagation_seconds)
        self.keys = {}
        self.ids = {}
        for service, members in args.encrypters.items():
            key = gcp.kms.CryptoKey(
                f"{name}-{service}",
                name=service,
                key_ring=self.ring.id,
                purpose="ENCRYPT_DECRYPT",
                rotation_period=f"{args.rotation_days * 86_400}s",
                opts=child_opts(self, protect=args.protect),
            )
            grants = [
                gcp.kms.CryptoKeyIAMMember(
                    f"{name}-{service}-{who}",
                    crypto_key_id=key.id,
                    role=ROLE,
                    member=member,
                    opts=child_opts(self, hooks=propagation.hooks),
                )
                for who, member in members.items()
            ]
            self.keys[service] = key
            self.ids[service] = propagation.after(key.id, grants)
        self.register_outputs({"ids": self.ids})
