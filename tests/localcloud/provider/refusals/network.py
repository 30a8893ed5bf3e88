"""Networks, firewalls, addresses and peering."""

from __future__ import annotations

from typing import Final

from tests.localcloud.provider.refusals import GONE, Table

NETWORK: Final[Table] = {
    "gcp:compute/network:Network": (
        {"name": "vpc", "autoCreateSubnetworks": False, "mtu": 1460, "routingMode": "REGIONAL"},
        [
            ("name", "VPC", "lower-case"),
            ("name", "vpc-", "not ending with a hyphen"),
            ("name", "1vpc", "starting with a letter"),
            ("mtu", 1200, "from 1300 to 8896"),
            ("mtu", "wide", "expected an integer"),
            ("routingMode", "ZONAL", "is not one of REGIONAL, GLOBAL"),
            ("autoCreateSubnetworks", "never", "expected a boolean"),
            ("subnets", [], "unknown property"),
        ],
    ),
    "gcp:compute/subnetwork:Subnetwork": (
        {"name": "nodes", "network": "vpc", "region": "us-central1", "ipCidrRange": "10.0.0.0/20",
         "privateIpGoogleAccess": True,
         "secondaryIpRanges": [{"rangeName": "pods", "ipCidrRange": "10.4.0.0/14"}],
         "logConfig": {"aggregationInterval": "INTERVAL_5_SEC", "flowSampling": 0.5,
                       "metadata": "INCLUDE_ALL_METADATA"}},
        [
            ("network", GONE, "missing required"),
            ("region", "iowa", "no region"),
            ("ipCidrRange", GONE, "or reservedInternalRange"),
            ("ipCidrRange", "10.0.0.0", "/29 or larger"),
            ("ipCidrRange", "10.0.0.0/33", "CIDR notation"),
            ("ipCidrRange", "10.0.0.1/20", "host bits"),
            ("ipCidrRange", "10.0.0.0/30", "/29 or larger"),
            ("secondaryIpRanges[0].ipCidrRange", "pods", "CIDR notation"),
            ("secondaryIpRanges[0].rangeName", GONE, "missing required"),
            ("logConfig.flowSampling", 1.5, "from 0 to 1"),
            ("logConfig.aggregationInterval", "INTERVAL_1_SEC", "is not one of INTERVAL_5_SEC"),
            ("purpose", "PUBLIC", "is not one of"),
            ("purpose", "REGIONAL_MANAGED_PROXY", "needs 'ACTIVE' or 'BACKUP'", "role"),
            ("purpose", "GLOBAL_MANAGED_PROXY", "not supported with purpose", "logConfig"),
            ("stackType", "IPV4", "is not one of IPV4_ONLY"),
        ],
    ),
    "gcp:compute/firewall:Firewall": (
        {"name": "internal", "network": "vpc", "direction": "INGRESS", "priority": 1000,
         "sourceRanges": ["10.0.0.0/8"],
         "allows": [{"protocol": "tcp", "ports": ["443", "8000-8080"]}, {"protocol": "icmp"}]},
        [
            ("denies", [{"protocol": "all"}], "conflicts with 'allows'"),
            ("allows", GONE, "give one of allows, denies"),
            ("sourceRanges", GONE, "INGRESS needs one of"),
            ("sourceRanges[0]", "10.0.0.0/40", "CIDR notation"),
            ("destinationRanges", ["everywhere"], "CIDR notation", "destinationRanges[0]"),
            ("allows[0].protocol", "http", "is no protocol"),
            ("allows[0].protocol", "300", "is no protocol"),
            ("allows[0].protocol", GONE, "missing required"),
            ("allows[0].ports[0]", "https", "is no port"),
            ("allows[0].ports[1]", "8080-8000", "is no port"),
            ("allows[0].ports[0]", "70000", "up to 65535"),
            ("allows[1].ports", ["1"], "has no ports"),
            ("priority", 70000, "from 0 to 65535"),
            ("direction", "INBOUND", "is not one of INGRESS, EGRESS"),
            ("logConfig", {"metadata": "ALL"}, "is not one of", "logConfig.metadata"),
        ],
    ),
    "gcp:compute/router:Router": (
        {"name": "egress", "network": "vpc", "region": "us-central1",
         "bgp": {"asn": 64514, "keepaliveInterval": 20}},
        [
            ("name", "Egress", "lower-case"),
            ("bgp.asn", GONE, "missing required"),
            ("bgp.keepaliveInterval", 10, "from 20 to 60"),
            ("bgp.advertiseMode", "AUTO", "is not one of DEFAULT, CUSTOM"),
        ],
    ),
    "gcp:compute/routerNat:RouterNat": (
        {"name": "nat", "router": "egress", "region": "us-central1",
         "natIpAllocateOption": "AUTO_ONLY",
         "sourceSubnetworkIpRangesToNat": "LIST_OF_SUBNETWORKS",
         "subnetworks": [{"name": "nodes", "sourceIpRangesToNats": ["ALL_IP_RANGES"]}],
         "logConfig": {"enable": True, "filter": "ERRORS_ONLY"}},
        [
            ("router", GONE, "missing required"),
            ("natIps", ["a"], "MANUAL_ONLY"),
            ("natIpAllocateOption", "MANUAL_ONLY", "needs the addresses", "natIps"),
            ("natIpAllocateOption", "AUTO", "is not one of MANUAL_ONLY, AUTO_ONLY"),
            ("subnetworks", GONE, "needs the list"),
            ("sourceSubnetworkIpRangesToNat", "ALL_SUBNETWORKS_ALL_IP_RANGES",
             "LIST_OF_SUBNETWORKS", "subnetworks"),
            ("subnetworks[0].sourceIpRangesToNats[0]", "EVERYTHING", "is not one of ALL_IP_RANGES"),
            ("maxPortsPerVm", 128, "enableDynamicPortAllocation"),
            ("minPortsPerVm", 0, "from 2 to 65536"),
            ("logConfig.filter", "SOME", "is not one of ERRORS_ONLY"),
            ("logConfig.enable", GONE, "missing required"),
        ],
    ),
    "gcp:compute/globalAddress:GlobalAddress": (
        {"name": "services", "purpose": "VPC_PEERING", "addressType": "INTERNAL",
         "prefixLength": 16, "network": "vpc"},
        [
            ("prefixLength", GONE, "VPC_PEERING needs it"),
            ("prefixLength", 4, "from 8 to 96"),
            ("network", GONE, "VPC_PEERING needs it"),
            ("addressType", "EXTERNAL", "needs 'INTERNAL'"),
            ("addressType", "PRIVATE", "is not one of EXTERNAL, INTERNAL"),
            ("purpose", "PEERING", "did you mean 'VPC_PEERING'"),
        ],
    ),
    "gcp:compute/address:Address": (
        {"name": "psc", "region": "us-central1", "addressType": "INTERNAL",
         "subnetwork": "nodes", "address": "10.0.0.9"},
        [
            ("address", "10.0.0.900", "is no IP address"),
            ("region", "us", "no region"),
            ("networkTier", "CHEAP", "is not one of PREMIUM, STANDARD"),
        ],
    ),
    "gcp:compute/forwardingRule:ForwardingRule": (
        {"name": "psc", "region": "us-central1", "loadBalancingScheme": "", "target": "all-apis",
         "network": "vpc", "ipAddress": "10.0.0.9"},
        [
            ("backendService", "b", "conflicts with 'target'"),
            ("name", "P_SC", "lower-case"),
            ("loadBalancingScheme", "OUTSIDE", "is not one of"),
            ("labels", {"Team": "ml"}, "is no label", 'labels["Team"]'),
            ("sourceIpRanges", ["10.0.0.0/99"], "CIDR notation", "sourceIpRanges[0]"),
        ],
    ),
    "gcp:compute/globalForwardingRule:GlobalForwardingRule": (
        {"name": "googleapis", "target": "all-apis", "network": "vpc", "ipAddress": "10.3.0.5",
         "loadBalancingScheme": ""},
        [("target", GONE, "missing required"), ("name", "Google_APIs", "lower-case")],
    ),
    "gcp:compute/backendService:BackendService": (
        {"name": "predict", "protocol": "HTTPS", "loadBalancingScheme": "EXTERNAL_MANAGED",
         "backends": [{"group": "g"}], "logConfig": {"enable": True, "sampleRate": 1.0}},
        [
            ("protocol", "GOPHER", "is not one of HTTP"),
            ("loadBalancingScheme", "OUTSIDE", "is not one of EXTERNAL"),
            ("backends[0].group", GONE, "missing required"),
        ],
    ),
    "gcp:compute/regionNetworkEndpointGroup:RegionNetworkEndpointGroup": (
        {"name": "predict", "region": "us-central1", "networkEndpointType": "SERVERLESS",
         "cloudRun": {"service": "predict"}},
        [
            ("region", GONE, "missing required"),
            ("networkEndpointType", "RUN", "is not one of SERVERLESS"),
            ("cloudFunction", {"function": "f"}, "conflicts with", "cloudRun"),
        ],
    ),
    "gcp:compute/managedSslCertificate:ManagedSslCertificate": (
        {"name": "predict", "managed": {"domains": ["predict.example.com"]}},
        [("name", "Predict", "lower-case"), ("managed.domains", GONE, "missing required")],
    ),
    "gcp:compute/uRLMap:URLMap": (
        {"name": "predict", "defaultService": "s"},
        [("name", "p_redict", "lower-case"), ("defaultServices", "s", "unknown property")],
    ),
    "gcp:compute/sSLPolicy:SSLPolicy": (
        {"name": "modern", "profile": "MODERN", "minTlsVersion": "TLS_1_2"},
        [
            ("profile", "NEW", "is not one of COMPATIBLE"),
            ("minTlsVersion", "1.2", "is not one of TLS_1_0"),
        ],
    ),
    "gcp:compute/targetHttpsProxy:TargetHttpsProxy": (
        {"name": "predict", "urlMap": "m", "sslCertificates": ["c"]},
        [("urlMap", GONE, "missing required"), ("quicOverride", "YES", "is not one of NONE")],
    ),
    "gcp:dns/managedZone:ManagedZone": (
        {"name": "googleapis", "dnsName": "googleapis.com.", "visibility": "private",
         "privateVisibilityConfig": {"networks": [{"networkUrl": "vpc"}]}},
        [
            ("dnsName", "googleapis.com", "with its last dot"),
            ("visibility", "hidden", "is not one of private, public"),
            ("privateVisibilityConfig.networks[0].networkUrl", GONE, "missing required"),
        ],
    ),
    "gcp:dns/recordSet:RecordSet": (
        {"name": "googleapis.com.", "managedZone": "googleapis", "type": "A", "ttl": 300,
         "rrdatas": ["10.3.0.5"]},
        [
            ("name", "googleapis.com", "with its last dot"),
            ("rrdatas[0]", "ghs.example.com.", "is no IPv4 address"),
            ("ttl", -1, "from 0 seconds"),
            ("type", "a", "in capitals"),
        ],
    ),
    "gcp:servicenetworking/connection:Connection": (
        {"network": "vpc", "service": "servicenetworking.googleapis.com",
         "reservedPeeringRanges": ["services"]},
        [
            ("service", "servicenetworking", "a service's whole name"),
            ("reservedPeeringRanges", GONE, "missing required"),
            ("reservedPeeringRanges", "services", "expected a list"),
        ],
    ),
}  # fmt: skip
