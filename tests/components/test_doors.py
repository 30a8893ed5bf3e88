"""Services over HTTP and what stands in front of them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from components.api_gateway import ApiGateway, ApiGatewayArgs
from components.checks import InvalidArgs
from components.cloud_run import Container, Probes
from components.load_balancer import LoadBalancer, LoadBalancerArgs
from components.tracking_server import TrackingServer, TrackingServerArgs
from components.web_service import WebService, WebServiceArgs

RUN = "gcp:cloudrunv2/service:Service"
KEY = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"
GATE = "serviceAccount:gate@p.iam.gserviceaccount.com"


def service(**change: Any) -> WebServiceArgs:
    return WebServiceArgs(
        **{
            "location": "us-central1",
            "description": "Demo",
            "container": Container(image="i@sha256:1", environment={"B": "2", "A": "1"}),
            "service_account": "api@p.iam.gserviceaccount.com",
            "callers": {"gate": GATE},
            "probes": Probes(startup="/live", liveness="/live", startup_seconds=62),
            **change,
        }
    )


class TestWebService:
    def test_only_named_callers_may_call_it(self, declare: Any) -> None:
        made = declare(lambda opts: WebService("demo", args=service(), opts=opts))
        invoker = made.inputs("ServiceIamMember")
        assert (invoker["role"], invoker["member"]) == ("roles/run.invoker", GATE)
        assert "invokerIamDisabled" not in made.inputs(RUN)

    @pytest.mark.parametrize(
        ("reach", "ingress"),
        [
            ("internal", "INGRESS_TRAFFIC_INTERNAL_ONLY"),
            ("load-balancer", "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"),
            ("anywhere", "INGRESS_TRAFFIC_ALL"),
        ],
    )
    def test_it_is_reached_from_where_it_says(self, declare: Any, reach: str, ingress: str) -> None:
        made = declare(lambda opts: WebService("demo", args=service(reach=reach), opts=opts))
        assert made.inputs(RUN)["ingress"] == ingress

    def test_it_is_sized_and_probed_as_asked(self, declare: Any) -> None:
        made = declare(
            lambda opts: WebService(
                "demo", args=service(min_instances=1, max_instances=5, concurrency=40), opts=opts
            )
        )
        template = made.inputs(RUN)["template"]
        assert template["scaling"] == {"minInstanceCount": 1, "maxInstanceCount": 5}
        assert template["maxInstanceRequestConcurrency"] == 40
        [container] = template["containers"]
        assert [one["name"] for one in container["envs"]] == ["A", "B"]
        # 62 s in steps of 5: never less than was asked for.
        assert container["startupProbe"]["failureThreshold"] == 13
        assert container["startupProbe"]["httpGet"] == {"path": "/live"}

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"callers": {"all": "allUsers"}}, "not everybody"),
            ({"reach": "world"}, "`anywhere`, `internal`, `load-balancer`"),
            ({"min_instances": 4}, "`min_instances` is 4; allowed: 0 to 3"),
            ({"concurrency": 0}, "`concurrency` is 0"),
            ({"timeout_seconds": 3601}, "allowed: 1 to 3600 seconds"),
        ],
    )
    def test_what_cloud_run_would_refuse_is_refused(
        self, change: dict[str, Any], expected: str
    ) -> None:
        with pytest.raises(InvalidArgs) as refused:
            service(**change)
        assert expected in str(refused.value)

    def test_a_name_leaves_room_for_that_of_a_revision(self, declare: Any) -> None:
        with pytest.raises(InvalidArgs, match="at most 49"):
            declare(lambda opts: WebService("a" * 50, args=service(), opts=opts))


class TestApiGateway:
    def gateway(self, declare: Any, document: str) -> Any:
        return declare(
            lambda opts: ApiGateway(
                "demo",
                args=ApiGatewayArgs(
                    project="p",
                    location="us-central1",
                    title="Demo",
                    document=document,
                    service_account="gate@p.iam.gserviceaccount.com",
                ),
                opts=opts,
            )
        )

    def test_the_document_is_what_was_given(self, declare: Any) -> None:
        config = self.gateway(declare, '{"swagger": "2.0"}').inputs("ApiConfig")
        [document] = config["openapiDocuments"]
        assert json.loads(base64.b64decode(document["document"]["contents"])) == {"swagger": "2.0"}
        assert config["gatewayConfig"]["backendConfig"] == {
            "googleServiceAccount": "gate@p.iam.gserviceaccount.com"
        }

    def test_another_document_is_another_configuration(self, declare: Any) -> None:
        first, again, other = (
            self.gateway(declare, text).inputs("ApiConfig")["apiConfigId"]
            for text in ('{"a": 1}', '{"a": 1}', '{"a": 2}')
        )
        assert first == again
        assert first != other
        assert first.startswith("demo-")

    def test_a_region_without_gateways_is_refused(self) -> None:
        with pytest.raises(InvalidArgs, match="`location` is 'europe-west3'; allowed: "):
            ApiGatewayArgs(
                project="p", location="europe-west3", title="t", document="", service_account="s"
            )


class TestLoadBalancer:
    def test_it_speaks_tls_only_and_passes_to_the_service(self, declare: Any) -> None:
        made = declare(
            lambda opts: LoadBalancer(
                "demo",
                args=LoadBalancerArgs(
                    location="us-central1", service="demo", domain="demo.example.com"
                ),
                opts=opts,
            )
        )
        assert made.inputs("GlobalForwardingRule")["portRange"] == "443"
        assert made.inputs("SSLPolicy")["minTlsVersion"] == "TLS_1_2"
        assert made.inputs("ManagedSslCertificate")["managed"] == {"domains": ["demo.example.com"]}
        assert made.inputs("RegionNetworkEndpointGroup")["cloudRun"] == {"service": "demo"}
        assert made.inputs("BackendService")["logConfig"] == {"enable": True, "sampleRate": 1.0}
        assert made.mocks.find("TargetHttpProxy") == []
        assert made.result.url == "https://demo.example.com"

    def test_what_is_no_domain_is_refused(self) -> None:
        with pytest.raises(InvalidArgs, match="a domain name in lower case"):
            LoadBalancerArgs(location="l", service="s", domain="https://demo")


class TestTrackingServer:
    def test_its_files_are_its_own(self, declare: Any) -> None:
        made = declare(
            lambda opts: TrackingServer(
                "tracking",
                args=TrackingServerArgs(
                    location="us-central1",
                    bucket="p-mlflow",
                    image="i@sha256:1",
                    service_account="tracking@p.iam.gserviceaccount.com",
                    environment={},
                    callers={},
                    access_log="logs",
                    bucket_kms_key=KEY,
                ),
                opts=opts,
            )
        )
        bucket = made.inputs("gcp:storage/bucket:Bucket")
        assert bucket["publicAccessPrevention"] == "enforced"
        assert bucket["encryption"] == {"defaultKmsKeyName": KEY}
        assert bucket["logging"]["logBucket"] == "logs"
        access = made.inputs("BucketIAMMember")
        assert (access["bucket"], access["member"]) == (
            "p-mlflow",
            "serviceAccount:tracking@p.iam.gserviceaccount.com",
        )
        assert made.inputs(RUN)["ingress"] == "INGRESS_TRAFFIC_INTERNAL_ONLY"
        assert made.mocks.find("ServiceIamMember") == []
