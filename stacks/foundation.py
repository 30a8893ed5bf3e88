"""The layer that all products of a stack share: providers, key, network, images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components.enabled_apis import EnabledApis, EnabledApisArgs
from components.encryption_key import EncryptionKey, EncryptionKeyArgs
from components.image import Image, ImageArgs
from components.image_repository import ImageRepository, ImageRepositoryArgs
from components.private_network import PrivateNetwork
from components.service_agents import ServiceAgents, ServiceAgentsArgs
from stacks import network, security
from stacks.settings import Settings
from workloads.product import Product

ROOT: Final = Path(__file__).resolve().parents[1]
"""The checkout, the build context of every image."""
REPOSITORY: Final = "esteira"
APIS: Final = (
    "aiplatform",
    "artifactregistry",
    "bigquery",
    "bigquerydatapolicy",
    "bigquerystorage",
    "cloudresourcemanager",
    "cloudscheduler",
    "compute",
    "datacatalog",
    "dataflow",
    "iam",
    "iamcredentials",
    "logging",
    "monitoring",
    "pubsub",
    "run",
    "storage",
)
"""What every stack needs; `apis` adds what its settings switch on."""
AGENTS: Final = ("pubsub", "storage")
"""Service agents that forward messages and notices."""
ENCRYPTERS: Final[dict[str, tuple[str, ...]]] = {
    "aiplatform": ("aiplatform",),
    "artifactregistry": ("artifactregistry",),
    "bigquery": ("bigquery",),
    "dataflow": ("compute", "dataflow"),
    "notebooks": ("compute", "notebooks"),
    "pubsub": ("pubsub",),
    "run": ("run",),
    "secretmanager": ("secretmanager",),
    "sqladmin": ("sqladmin",),
    "storage": ("storage",),
}
"""By service that keeps data, the service agents that use its customer-managed key."""
IMAGES: Final[dict[str, tuple[str, str | None]]] = {
    "ingestion-streaming": ("ingestion", "streaming"),
    "ingestion-batch": ("ingestion", "batch"),
    "ingestion-starter": ("ingestion", "starter"),
    "monitoring": ("monitoring", None),
    "training": ("training", None),
    "serving": ("serving", None),
    "tracking": ("tracking", None),
}
"""By name: the folder under workloads/images, and the stage of its Dockerfile."""


@dataclass(frozen=True, kw_only=True)
class Foundation:
    """What products build upon."""

    settings: Settings
    opts: pulumi.ResourceOptions
    """Carry the provider of what products share."""
    apis: EnabledApis
    agents: ServiceAgents
    repository: ImageRepository
    images: dict[str, pulumi.Output[str]]
    """References by digest, by image name."""
    keys: EncryptionKey | None
    network: PrivateNetwork | None
    """With `services`, where the settings have something that needs private service access."""

    @property
    def subnetwork(self) -> pulumi.Output[str] | None:
        """`projects/.../regions/.../subnetworks/...`."""
        return None if self.network is None else self.network.subnetwork.id

    def key(self, service: str) -> pulumi.Output[str] | None:
        """The customer-managed key of a service, known once its agents may use it.

        None where the stack's settings leave encryption to Google's own keys.

        Args:
            service: One of `ENCRYPTERS`.

        Raises:
            KeyError: the service has no key in this stack.
        """
        return None if self.keys is None else self.keys.ids[service]

    def provider(self, product: Product) -> gcp.Provider:
        """The provider of one product, whose labels every resource of the product gets."""
        return _provider(
            product.name,
            self.settings,
            labels={
                "product": product.name,
                "owner": product.owner,
                "cost-center": product.cost_center,
            },
            apis=self.apis,
        )


def apis(settings: Settings) -> tuple[str, ...]:
    """The Google APIs that a stack of these settings needs, by their short names, in order."""
    secrets = (
        settings.alerts.slack_channel is not None
        or settings.alerts.teams_webhook_secret is not None
        or settings.alerts.slack_webhook_secret is not None
    )
    private = settings.network.private
    switched: dict[str, bool] = {
        "accesscontextmanager": settings.security.access_policy is not None,
        "apigateway": settings.serving.api,
        "billingbudgets": settings.budget.billing_account is not None,
        "cloudkms": settings.security.customer_managed_keys,
        "containerscanning": settings.security.scan_images,
        "dns": private and settings.network.private_connect,
        "notebooks": settings.workbench.enabled,
        "orgpolicy": settings.security.guard_rails,
        "secretmanager": settings.database.enabled or secrets,
        "servicecontrol": settings.serving.api,
        "servicedirectory": private and settings.network.private_connect,
        "servicemanagement": settings.serving.api,
        "servicenetworking": private and settings.database.enabled,
        "sqladmin": settings.database.enabled,
        "sts": settings.github.repository is not None,
    }
    return tuple(sorted({*APIS, *(api for api, on in switched.items() if on)}))


def lay(settings: Settings) -> Foundation:
    """Make what products share.

    Args:
        settings: Of this stack.
    """
    labels = shared_labels(settings)
    # Switching APIs on needs a provider, and all else needs the APIs: hence one before, one after.
    enabled = EnabledApis(
        "apis",
        args=EnabledApisArgs(
            project=settings.project,
            apis=apis(settings),
            propagation_seconds=settings.apis.propagation_seconds,
        ),
        opts=pulumi.ResourceOptions(providers=[_provider("bootstrap", settings, labels=labels)]),
    )
    shared = pulumi.ResourceOptions(
        providers=[_provider("platform", settings, labels=labels, apis=enabled)]
    )
    encrypted = settings.security.customer_managed_keys
    agents = ServiceAgents(
        "agents",
        args=ServiceAgentsArgs(
            project=settings.project,
            agents=_agents(settings),
            propagation_seconds=settings.apis.propagation_seconds,
        ),
        opts=shared,
    )
    keys = _keys(settings, agents, shared) if encrypted else None
    repository = ImageRepository(
        REPOSITORY,
        args=ImageRepositoryArgs(
            project=settings.project,
            location=settings.location,
            kms_key=None if keys is None else keys.ids["artifactregistry"],
            scan=settings.security.scan_images,
            protect=settings.security.protect,
        ),
        opts=shared,
    )
    security.lay(settings, agents.number, shared)
    return Foundation(
        settings=settings,
        apis=enabled,
        opts=shared,
        agents=agents,
        repository=repository,
        images=_images(settings, repository, shared),
        keys=keys,
        network=network.lay(settings, shared),
    )


def shared_labels(settings: Settings) -> dict[str, str]:
    """The labels of what products share, for what no provider can label."""
    return {
        "environment": settings.environment.value,
        "managed-by": "pulumi",
        "product": "platform",
        "owner": settings.owner,
        "cost-center": settings.cost_center,
    }


def _provider(
    name: str, settings: Settings, *, labels: dict[str, str], apis: EnabledApis | None = None
) -> gcp.Provider:
    """A provider; what it makes waits until these APIs can be used."""
    return gcp.Provider(
        name,
        project=settings.project if apis is None else apis.project,
        region=settings.location,
        default_labels={
            "environment": settings.environment.value,
            "managed-by": "pulumi",
            **labels,
        },
        opts=pulumi.ResourceOptions(depends_on=None if apis is None else [apis]),
    )


def _encrypted(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Services that get a key, with the agents that use it; none for what is switched off."""
    off = set[str]()
    if not settings.database.enabled:
        off |= {"sqladmin"}
    if not settings.workbench.enabled:
        off |= {"notebooks"}
    return {service: who for service, who in ENCRYPTERS.items() if service not in off}


def _agents(settings: Settings) -> list[str]:
    """Service agents that this stack grants something to."""
    needed = set(AGENTS)
    if settings.features.online:
        needed |= {"aiplatform"}
    if settings.security.customer_managed_keys:
        needed |= {agent for who in _encrypted(settings).values() for agent in who}
    return sorted(needed)


def _keys(settings: Settings, agents: ServiceAgents, opts: pulumi.ResourceOptions) -> EncryptionKey:
    return EncryptionKey(
        "esteira",
        args=EncryptionKeyArgs(
            location=settings.location,
            encrypters={
                service: {agent: agents.members[agent] for agent in who}
                for service, who in _encrypted(settings).items()
            },
            rotation_days=settings.security.key_rotation_days,
            propagation_seconds=settings.apis.propagation_seconds,
            protect=settings.security.protect,
        ),
        opts=opts,
    )


def _images(
    settings: Settings, repository: ImageRepository, opts: pulumi.ResourceOptions
) -> dict[str, pulumi.Output[str]]:
    off = set[str]() if settings.tracking.enabled else {"tracking"}
    return {
        name: Image(
            name,
            args=ImageArgs(
                repository=repository.url,
                dockerfile=ROOT / "workloads" / "images" / folder / "Dockerfile",
                context=ROOT,
                target=target,
            ),
            opts=opts,
        ).ref
        for name, (folder, target) in IMAGES.items()
        if name not in off
    }
