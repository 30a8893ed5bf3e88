"""What a plan costs a month, and what no table can tell."""

from __future__ import annotations

import datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError

from esteira.review.cost import Estimate, estimate
from esteira.review.planned import Serving
from esteira.review.prices import Price, size, table
from tests.esteira.reviews import SERVICE, TOPIC, resource

HOURS = 730
ENDPOINT = "gcp:vertex/aiEndpoint:AiEndpoint"


def priced(token: str, **inputs: Any) -> Estimate:
    return estimate([resource(token, **inputs)], {})


class TestTable:
    def test_each_figure_has_a_source_and_a_date_that_is_past(self) -> None:
        prices = table()
        for one in (*prices.standing.values(), *prices.usage.values()):
            assert one.source.startswith("https://")
            assert datetime.date(2025, 1, 1) <= one.date <= prices.review_date

    def test_each_figure_can_be_read_where_it_says_or_is_said_to_be_unconfirmed(self) -> None:
        for key, one in table().standing.items():
            if one.unconfirmed:
                assert one.unconfirmed in table().doubt(key)
            else:
                assert one.read_in is not None
                address = urlsplit(one.read_in)
                assert (address.scheme, bool(address.netloc)) == ("https", True), key
                # A site as a whole states nothing.
                assert len(address.path) > 1, key
                assert table().doubt(key) == ""

    @pytest.mark.parametrize(
        "read",
        [
            {},
            {"read_in": "public repositories that quote it alike"},
            {"read_in": "https://github.com/a/b (testdata c)"},
            {"read_in": "http://example.com/prices"},
            {"read_in": "https://example.com/prices", "unconfirmed": "hearsay"},
        ],
    )
    def test_a_figure_that_nobody_can_look_up_is_refused(self, read: dict[str, str]) -> None:
        figure = {"usd": 1, "per": "hour", "source": "https://cloud.google.com/x/pricing"}
        Price.model_validate({**figure, "date": "2026-11-22", "unconfirmed": "hearsay"})
        with pytest.raises(ValidationError):
            Price.model_validate({**figure, "date": "2026-11-22", **read})

    def test_a_month_is_counted_in_the_unit_of_the_price(self) -> None:
        prices = table()
        assert prices.month("gke-cluster") == pytest.approx(0.1 * HOURS)
        assert prices.month("kms-software") == 0.06
        assert prices.month("run-idle-vcpu") == pytest.approx(0.0000025 * HOURS * 3600)

    def test_machines_that_the_platform_defaults_to_have_a_known_size(self) -> None:
        assert size("n1-standard-2") == (2, 7.5)
        assert size("e2-standard-4") == (4, 16.0)
        assert size("m3-ultramem-32") is None


class TestPrices:
    # The sums are those of the sources, such as Infracost's of db-custom-2-7680: 60.30 and 38.33.
    def test_cloud_sql_by_tier_and_disk_and_twice_with_a_standby(self) -> None:
        settings = {"tier": "db-custom-2-7680", "diskSize": 10}
        token = "gcp:sql/databaseInstance:DatabaseInstance"
        alone = priced(token, settings=settings)
        assert alone.least == pytest.approx(60.30 + 38.33 + 1.70, abs=0.01)
        twice = priced(token, settings={**settings, "availabilityType": "REGIONAL"})
        assert twice.least == pytest.approx(2 * alone.least)

    @pytest.mark.parametrize(("tier", "hour"), [("db-f1-micro", 0.0105), ("db-g1-small", 0.035)])
    def test_cloud_sql_with_a_shared_processor(self, tier: str, hour: float) -> None:
        token = "gcp:sql/databaseInstance:DatabaseInstance"
        found = priced(token, settings={"tier": tier, "diskSize": 10})
        assert found.unpriced == ()
        assert found.least == pytest.approx(hour * HOURS + 1.70)

    def test_an_endpoint_by_the_products_serving_settings_and_says_so(self) -> None:
        serving = Serving(machine_type="n1-standard-2", min_replicas=1, max_replicas=3)
        found = estimate([resource(ENDPOINT, product="churn")], {"churn": serving})
        assert found.least == pytest.approx(0.1095 * HOURS)
        assert found.most == pytest.approx(3 * 0.1095 * HOURS)
        assert "by the product's serving settings" in found.lines[0].what
        assert found.lines[0].what.endswith(table().doubt("vertex-n1-standard-2"))

    def test_streaming_between_one_worker_and_the_most(self) -> None:
        token = "gcp:dataflow/flexTemplateJob:FlexTemplateJob"
        found = priced(
            token, machineType="n1-standard-2", maxWorkers=10, enableStreamingEngine=True
        )
        worker = (2 * 0.069 + 7.5 * 0.0035557) * HOURS
        assert (found.least, found.most) == (pytest.approx(worker), pytest.approx(10 * worker))

    def test_an_online_feature_store_between_its_fewest_and_its_most_nodes(self) -> None:
        scaling = {"minNodeCount": 1, "maxNodeCount": 3}
        token = "gcp:vertex/aiFeatureOnlineStore:AiFeatureOnlineStore"
        found = priced(token, bigtable={"autoScaling": scaling})
        node = 0.94 * HOURS
        assert (found.least, found.most) == (pytest.approx(node), pytest.approx(3 * node))
        assert "unconfirmed" in found.lines[0].what

    def test_cloud_nat_is_capped_at_32_machines(self) -> None:
        found = priced("gcp:compute/routerNat:RouterNat")
        assert found.least == pytest.approx((0.0014 + 0.005) * HOURS)
        assert found.most == pytest.approx((0.044 + 0.005) * HOURS)

    def test_instances_of_cloud_run_that_always_run_and_no_others(self) -> None:
        containers = [{"resources": {"limits": {"cpu": "1", "memory": "512Mi"}}}]
        assert not priced(SERVICE, template={"containers": containers}).lines
        template = {"containers": containers, "scaling": {"minInstanceCount": 2}}
        found = priced(SERVICE, template=template)
        assert found.least == pytest.approx(2 * 1.5 * 0.0000025 * HOURS * 3600)

    @pytest.mark.parametrize(
        ("token", "inputs", "monthly"),
        [
            ("gcp:container/cluster:Cluster", {}, 73.0),
            ("gcp:container/nodePool:NodePool",
             {"nodeConfig": {"machineType": "e2-standard-2"}, "nodeCount": 2}, 2 * 48.92),
            ("gcp:kms/cryptoKey:CryptoKey", {}, 0.06),
            ("gcp:kms/cryptoKey:CryptoKey",
             {"versionTemplate": {"protectionLevel": "HSM"}}, 1.0),
            ("gcp:secretmanager/secretVersion:SecretVersion", {}, 0.06),
            ("gcp:compute/disk:Disk", {"type": "pd-ssd", "size": 100}, 17.0),
            ("gcp:compute/forwardingRule:ForwardingRule", {"loadBalancingScheme": ""}, 7.3),
            ("gcp:compute/globalForwardingRule:GlobalForwardingRule",
             {"loadBalancingScheme": "EXTERNAL_MANAGED"}, 18.25),
            ("gcp:compute/address:Address", {"addressType": "INTERNAL"}, 0.0),
            ("gcp:compute/globalAddress:GlobalAddress",
             {"purpose": "VPC_PEERING", "addressType": "INTERNAL"}, 0.0),
            (TOPIC, {}, 0.0),
        ],
    )  # fmt: skip
    def test_what_stands_costs_the_same_each_month(
        self, token: str, inputs: dict[str, Any], monthly: float
    ) -> None:
        found = priced(token, **inputs)
        assert found.unpriced == ()
        assert found.most == pytest.approx(monthly, abs=0.01)

    def test_a_workbench_costs_its_machine_while_it_runs_and_its_disks_always(self) -> None:
        setup = {
            "machineType": "e2-standard-4",
            "bootDisk": {"diskSizeGb": "150", "diskType": "PD_BALANCED"},
        }
        found = priced("gcp:workbench/instance:Instance", gceSetup=setup)
        assert found.least == pytest.approx(15.0)
        assert found.most == pytest.approx(15.0 + 4 * 48.92 / 2, abs=0.01)


class TestWhatIsNotSaid:
    @pytest.mark.parametrize(
        ("token", "inputs", "named"),
        [
            ("gcp:sql/databaseInstance:DatabaseInstance",
             {"settings": {"tier": "db-perf-optimized-N-2"}}, "db-perf-optimized-N-2"),
            ("gcp:container/nodePool:NodePool", {"nodeConfig": {"machineType": "n2-standard-4"}},
             "n2-standard-4"),
            ("gcp:dataflow/flexTemplateJob:FlexTemplateJob",
             {"machineType": "c3-metal-9x", "onDelete": "drain"}, "c3-metal-9x"),
            ("gcp:vertex/aiFeatureOnlineStore:AiFeatureOnlineStore", {"optimized": {}},
             "not on Bigtable"),
            (ENDPOINT, {}, "declares"),
        ],
    )  # fmt: skip
    def test_what_has_no_figure_is_named_and_not_guessed(
        self, token: str, inputs: dict[str, Any], named: str
    ) -> None:
        found = priced(token, **inputs)
        assert found.lines == ()
        assert any(named in one for one in found.unpriced)

    def test_what_costs_by_use_is_counted_and_not_priced(self) -> None:
        found = estimate([resource(TOPIC, "a"), resource(TOPIC, "b")], {})
        assert dict(found.usage) == {TOPIC: 2}
        assert found.most == 0
