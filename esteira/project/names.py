"""What bootstrap calls the things that it makes: the same on every run, with nothing random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stacks.names import DEPLOYER, deployer

ACCOUNT: Final = DEPLOYER
RING: Final = "esteira-bootstrap"
"""Not the ring of the program, `esteira`: that one belongs to the stack."""


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names for one stack."""

    stack: str
    project: str
    location: str
    state_bucket: str = ""
    """Given, or `<project>-pulumi-state`: a project's id is nobody else's, so hardly its bucket."""

    @property
    def bucket(self) -> str:
        """The bucket of Pulumi's state; stacks of one project share it."""
        return self.state_bucket or f"{self.project}-pulumi-state"

    @property
    def backend(self) -> str:
        """What `pulumi login` is given."""
        return f"gs://{self.bucket}"

    @property
    def place(self) -> str:
        """Parent of the key ring."""
        return f"projects/{self.project}/locations/{self.location}"

    @property
    def ring(self) -> str:
        """Full name of the key ring."""
        return f"{self.place}/keyRings/{RING}"

    @property
    def secrets_key(self) -> str:
        """Full name of the key of the stack's secrets."""
        return f"{self.ring}/cryptoKeys/pulumi-secrets-{self.stack}"

    @property
    def state_key(self) -> str:
        """Full name of the key of the state bucket."""
        return f"{self.ring}/cryptoKeys/pulumi-state"

    @property
    def secrets_provider(self) -> str:
        """What Pulumi calls the key."""
        return f"gcpkms://{self.secrets_key}"

    @property
    def account(self) -> str:
        """E-mail of the account that deploys."""
        return deployer(self.project)

    @property
    def account_name(self) -> str:
        """Full name of the account that deploys."""
        return f"projects/{self.project}/serviceAccounts/{self.account}"

    @property
    def member(self) -> str:
        """The account as IAM writes it."""
        return f"serviceAccount:{self.account}"
