"""A global HTTPS load balancer in front of one Cloud Run service.

For callers that have to come over the public network while the service itself is closed to it: the
service takes only what this load balancer sends, and Cloud Run still asks each caller who it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

DOMAIN: Final = (
    re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}"),
    "a domain name in lower case, e.g. `flight-delay.predictions.example.com`",
)


@dataclass(frozen=True, kw_only=True)
class LoadBalancerArgs:
    """What a load balancer needs.

    Raises:
        InvalidArgs: at construction, when the domain is none.
    """

    location: str
    """The region of the service."""
    service: pulumi.Input[str]
    """Name of the Cloud Run service."""
    domain: str
    """The name that clients use. Its A record has to hold `address` before Google can issue the
    certificate."""
    log_sampling: float = 1.0
    """Share of requests that are logged, 0 to 1."""

    def __post_init__(self) -> None:
        checks.matches("LoadBalancer", "domain", self.domain, DOMAIN)
        checks.between("LoadBalancer", "log_sampling", self.log_sampling, 0, 1)


class LoadBalancer(pulumi.ComponentResource):
    """Address, certificate and rules named `<name>`; TLS 1.2 and later, no plain HTTP."""

    address: gcp.compute.GlobalAddress
    backend: gcp.compute.BackendService
    url: str
    """`https://<domain>`."""

    def __init__(
        self, name: str, *, args: LoadBalancerArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("LoadBalancer", "name", name, checks.SERVICE)
        super().__init__("esteira:load_balancer:LoadBalancer", name, {}, opts)
        self.url = f"https://{args.domain}"
        self.address = gcp.compute.GlobalAddress(
            name, name=name, address_type="EXTERNAL", ip_version="IPV4", opts=child_opts(self)
        )
        group = gcp.compute.RegionNetworkEndpointGroup(
            name,
            name=name,
            region=args.location,
            network_endpoint_type="SERVERLESS",
            cloud_run=gcp.compute.RegionNetworkEndpointGroupCloudRunArgs(service=args.service),
            opts=child_opts(self),
        )
        self.backend = gcp.compute.BackendService(
            name,
            name=name,
            protocol="HTTPS",
            load_balancing_scheme="EXTERNAL_MANAGED",
            backends=[gcp.compute.BackendServiceBackendArgs(group=group.id)],
            log_config=gcp.compute.BackendServiceLogConfigArgs(
                enable=True, sample_rate=args.log_sampling
            ),
            opts=child_opts(self),
        )
        routes = gcp.compute.URLMap(
            name, name=name, default_service=self.backend.id, opts=child_opts(self)
        )
        certificate = gcp.compute.ManagedSslCertificate(
            name,
            name=name,
            managed=gcp.compute.ManagedSslCertificateManagedArgs(domains=[args.domain]),
            opts=child_opts(self),
        )
        policy = gcp.compute.SSLPolicy(
            name,
            name=name,
            profile="RESTRICTED",
            min_tls_version="TLS_1_2",
            opts=child_opts(self),
        )
        proxy = gcp.compute.TargetHttpsProxy(
            name,
            name=name,
            url_map=routes.id,
            ssl_certificates=[certificate.id],
            ssl_policy=policy.id,
            opts=child_opts(self),
        )
        gcp.compute.GlobalForwardingRule(
            name,
            name=name,
            target=proxy.id,
            ip_address=self.address.address,
            ip_protocol="TCP",
            port_range="443",
            load_balancing_scheme="EXTERNAL_MANAGED",
            opts=child_opts(self),
        )
        self.register_outputs({"url": self.url, "address": self.address.address})
