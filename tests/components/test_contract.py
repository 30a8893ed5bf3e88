"""What every component must keep, whichever it is."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pytest

import components
from components.access_log import AccessLog, AccessLogArgs
from components.alert_policy import AlertPolicy, AlertPolicyArgs, Threshold
from components.api_gateway import ApiGateway, ApiGatewayArgs
from components.audit_logs import AuditLogs, AuditLogsArgs
from components.budget import Budget, BudgetArgs
from components.cloud_run import Container, Probes
from components.column_policy import ColumnPolicy, ColumnPolicyArgs
from components.custom_metric import CustomMetric, CustomMetricArgs
from components.dashboard import Chart, Dashboard, DashboardArgs, Line, Logs, Note, Promql
from components.database import Database, DatabaseArgs
from components.database_user import DatabaseUser, DatabaseUserArgs
from components.dead_letters import DeadLetters, DeadLettersArgs
from components.enabled_apis import EnabledApis, EnabledApisArgs
from components.encryption_key import EncryptionKey, EncryptionKeyArgs
from components.event_stream import EventStream, EventStreamArgs
from components.experiment_tracking import ExperimentTracking, ExperimentTrackingArgs
from components.feature_group import FeatureGroup, FeatureGroupArgs
from components.feature_online_store import FeatureOnlineStore, FeatureOnlineStoreArgs
from components.feature_view import FeatureView, FeatureViewArgs
from components.firewall import Firewall, FirewallArgs
from components.flex_template import FlexTemplate, FlexTemplateArgs
from components.github_federation import GithubFederation, GithubFederationArgs
from components.guard_rails import GuardRails, GuardRailsArgs
from components.image import Image, ImageArgs
from components.image_repository import ImageRepository, ImageRepositoryArgs
from components.landing_zone import LandingZone, LandingZoneArgs
from components.load_balancer import LoadBalancer, LoadBalancerArgs
from components.log_metric import LogMetric, LogMetricArgs
from components.log_sink import LogSink, LogSinkArgs
from components.metric_types import BACKLOG
from components.notification_channels import NotificationChannels, NotificationChannelsArgs
from components.pipeline_runner import PipelineRunner, PipelineRunnerArgs
from components.prediction_endpoint import PredictionEndpoint, PredictionEndpointArgs
from components.prediction_log import PredictionLog, PredictionLogArgs
from components.private_connect import PrivateConnect, PrivateConnectArgs
from components.private_network import PrivateNetwork, PrivateNetworkArgs
from components.push_service import PushService, PushServiceArgs
from components.scheduled_job import ScheduledJob, ScheduledJobArgs
from components.series import Series
from components.service_agents import ServiceAgents, ServiceAgentsArgs
from components.service_perimeter import ServicePerimeter, ServicePerimeterArgs
from components.streaming_job import StreamingJob, StreamingJobArgs
from components.teams_relay import TeamsRelay, TeamsRelayArgs
from components.tracking_server import TrackingServer, TrackingServerArgs
from components.uptime_check import UptimeCheck, UptimeCheckArgs
from components.warehouse import Dataset, Table, Warehouse, WarehouseArgs
from components.web_service import WebService, WebServiceArgs
from components.workbench import Workbench, WorkbenchArgs
from components.workload_identity import Grant, WorkloadIdentity, WorkloadIdentityArgs

AGENT = "serviceAccount:service-1@gcp-sa-pubsub.iam.gserviceaccount.com"
KEY = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"
IMAGE = "us-central1-docker.pkg.dev/p/r/i@sha256:" + "0" * 64
COLUMNS = [
    {"name": "id", "type": "STRING", "mode": "REQUIRED", "description": "Id"},
    {"name": "at", "type": "TIMESTAMP", "mode": "REQUIRED", "description": "When"},
]
METADATA = {
    "name": "demo",
    "streaming": True,
    "parameters": [
        {"name": "product", "label": "Product", "helpText": "Which", "regexes": ["^[a-z]+$"]}
    ],
}

WAITING = Series(
    metric=BACKLOG, aligner="ALIGN_MEAN", where={"resource.labels.subscription_id": "demo"}
)


def _template(opts: pulumi.ResourceOptions) -> FlexTemplate:
    return FlexTemplate(
        "demo-template",
        args=FlexTemplateArgs(
            bucket="b", path="templates/stream.json", image=IMAGE, metadata=METADATA
        ),
        opts=opts,
    )


def _account(opts: pulumi.ResourceOptions) -> gcp.serviceaccount.Account:
    return gcp.serviceaccount.Account(
        "caller",
        account_id="demo-caller",
        opts=pulumi.ResourceOptions(provider=_provider(opts)),
    )


def _provider(opts: pulumi.ResourceOptions) -> pulumi.ProviderResource:
    assert isinstance(opts.providers, list)
    return opts.providers[0]


def _runner(opts: pulumi.ResourceOptions) -> PipelineRunner:
    plain = pulumi.ResourceOptions(provider=_provider(opts))
    return PipelineRunner(
        "demo-train",
        args=PipelineRunnerArgs(
            project="p",
            account_id="demo-train",
            bucket=gcp.storage.Bucket("models", location="us-central1", opts=plain),
            reads=[gcp.bigquery.Dataset("raw", dataset_id="raw", opts=plain)],
            writes=[gcp.bigquery.Dataset("features", dataset_id="features", opts=plain)],
            images=gcp.artifactregistry.Repository(
                "images", repository_id="images", format="DOCKER", opts=plain
            ),
        ),
        opts=opts,
    )


SAMPLES: dict[type[pulumi.ComponentResource], Callable[[pulumi.ResourceOptions, Path], Any]] = {
    AccessLog: lambda opts, _: AccessLog(
        "demo-access-log",
        args=AccessLogArgs(bucket="p-demo-access-log", location="us-central1", kms_key=KEY),
        opts=opts,
    ),
    ColumnPolicy: lambda opts, _: ColumnPolicy(
        "demo",
        args=ColumnPolicyArgs(
            project="p",
            location="us-central1",
            description="Personal",
            readers=["group:privacy@example.com"],
        ),
        opts=opts,
    ),
    ExperimentTracking: lambda opts, _: ExperimentTracking(
        "demo",
        args=ExperimentTrackingArgs(location="us-central1", kms_key=KEY),
        opts=opts,
    ),
    FeatureGroup: lambda opts, _: FeatureGroup(
        "demo",
        args=FeatureGroupArgs(
            location="us-central1",
            description="Demo",
            source="p.curated.features",
            entity=["id"],
            features={"height": "How high", "width": "How wide"},
        ),
        opts=opts,
    ),
    FeatureView: lambda opts, _: FeatureView(
        "demo",
        args=FeatureViewArgs(
            location="us-central1",
            source="p.curated.latest_features",
            entity=["id"],
            store=gcp.vertex.AiFeatureOnlineStore(
                "store",
                name="store",
                region="us-central1",
                optimized=gcp.vertex.AiFeatureOnlineStoreOptimizedArgs(),
                opts=pulumi.ResourceOptions(provider=_provider(opts)),
            ),
        ),
        opts=opts,
    ),
    FeatureOnlineStore: lambda opts, _: FeatureOnlineStore(
        "demo",
        args=FeatureOnlineStoreArgs(location="us-central1", max_nodes=3, kms_key=KEY),
        opts=opts,
    ),
    Workbench: lambda opts, _: Workbench(
        "demo-workbench",
        args=WorkbenchArgs(
            project="p",
            zone="us-central1-a",
            account_id="demo-workbench",
            reads={
                "curated": gcp.bigquery.Dataset(
                    "raw",
                    dataset_id="raw",
                    opts=pulumi.ResourceOptions(provider=_provider(opts)),
                )
            },
            users=["user:ana@example.com"],
            subnetwork="projects/p/regions/us-central1/subnetworks/s",
            kms_key=KEY,
        ),
        opts=opts,
    ),
    ApiGateway: lambda opts, _: ApiGateway(
        "demo",
        args=ApiGatewayArgs(
            project="p",
            location="us-central1",
            title="Demo",
            document='{"swagger": "2.0"}',
            service_account="door@p.iam.gserviceaccount.com",
        ),
        opts=opts,
    ),
    Database: lambda opts, _: Database(
        "demo",
        args=DatabaseArgs(
            location="us-central1",
            network="projects/p/global/networks/n",
            databases=["mlflow"],
            owners={"tracking": "tracking@p.iam.gserviceaccount.com"},
            labels={"product": "demo"},
            highly_available=True,
            kms_key=KEY,
        ),
        opts=opts,
    ),
    DatabaseUser: lambda opts, _: DatabaseUser(
        "demo",
        args=DatabaseUserArgs(instance="records", email="demo-batch@p.iam.gserviceaccount.com"),
        opts=opts,
    ),
    LoadBalancer: lambda opts, _: LoadBalancer(
        "demo",
        args=LoadBalancerArgs(location="us-central1", service="demo", domain="demo.example.com"),
        opts=opts,
    ),
    TrackingServer: lambda opts, _: TrackingServer(
        "tracking",
        args=TrackingServerArgs(
            location="us-central1",
            bucket="p-mlflow",
            image=IMAGE,
            service_account="tracking@p.iam.gserviceaccount.com",
            environment={"DATABASE_NAME": "mlflow"},
            callers={"train": "serviceAccount:train@p.iam.gserviceaccount.com"},
            kms_key=KEY,
            bucket_kms_key=KEY,
        ),
        opts=opts,
    ),
    WebService: lambda opts, _: WebService(
        "demo-api",
        args=WebServiceArgs(
            location="us-central1",
            description="Demo",
            container=Container(image=IMAGE, environment={"PRODUCT": "demo"}),
            service_account="demo@p.iam.gserviceaccount.com",
            callers={"gateway": "serviceAccount:door@p.iam.gserviceaccount.com"},
            probes=Probes(startup="/live", liveness="/live"),
            subnetwork="projects/p/regions/us-central1/subnetworks/s",
            kms_key=KEY,
        ),
        opts=opts,
    ),
    AuditLogs: lambda opts, _: AuditLogs("audit", args=AuditLogsArgs(project="p"), opts=opts),
    Budget: lambda opts, _: Budget(
        "demo",
        args=BudgetArgs(
            billing_account="012345-6789AB-CDEF01",
            project_number="1",
            amount=500,
            channels=["projects/p/notificationChannels/1"],
            topic="projects/p/topics/alerts",
        ),
        opts=opts,
    ),
    Firewall: lambda opts, _: Firewall(
        "demo",
        args=FirewallArgs(
            network="projects/p/global/networks/demo", egress={"network": ["10.0.0.0/20"]}
        ),
        opts=opts,
    ),
    GithubFederation: lambda opts, _: GithubFederation(
        "github",
        args=GithubFederationArgs(
            project="p",
            repository="owner/name",
            branch="main",
            deployer="deploy@p.iam.gserviceaccount.com",
        ),
        opts=opts,
    ),
    GuardRails: lambda opts, _: GuardRails(
        "guard", args=GuardRailsArgs(project="p", regions=["us-central1"]), opts=opts
    ),
    PrivateConnect: lambda opts, _: PrivateConnect(
        "demo",
        args=PrivateConnectArgs(
            network="projects/p/global/networks/demo", region="us-central1", address="10.66.0.2"
        ),
        opts=opts,
    ),
    ServicePerimeter: lambda opts, _: ServicePerimeter(
        "demo",
        args=ServicePerimeterArgs(
            access_policy="1", project_number="1", members=["user:ana@example.com"]
        ),
        opts=opts,
    ),
    AlertPolicy: lambda opts, _: AlertPolicy(
        "demo-backlog",
        args=AlertPolicyArgs(
            title="demo: messages pile up",
            conditions=[Threshold(title="many wait", series=WAITING, above=100, for_seconds=60)],
            severity="WARNING",
            summary="Too slow.",
            runbook="https://github.com/o/r/blob/main/docs/runbooks/stream-backlog.md",
            channels=["projects/p/notificationChannels/1"],
            labels={"product": "demo"},
            remind_seconds=3600,
        ),
        opts=opts,
    ),
    CustomMetric: lambda opts, _: CustomMetric(
        "score",
        args=CustomMetricArgs(
            type="custom.googleapis.com/demo/score",
            title="Score",
            description="How much",
            labels=[("product", "Which")],
        ),
        opts=opts,
    ),
    Dashboard: lambda opts, _: Dashboard(
        "demo-stream",
        args=DashboardArgs(
            title="demo: stream",
            panels=[
                Note(content="**demo**"),
                Chart(title="Waiting", unit="messages", lines=[Line(series=WAITING, legend="a")]),
                Promql(title="Set aside", query="sum(up)", unit="messages"),
                Logs(title="Warnings", filter="severity>=WARNING"),
            ],
        ),
        opts=opts,
    ),
    LogMetric: lambda opts, _: LogMetric(
        "demo-failures",
        args=LogMetricArgs(
            metric="esteira/demo/failures",
            description="Failures",
            filter="severity>=ERROR",
            labels={"job": "EXTRACT(resource.labels.job_name)"},
        ),
        opts=opts,
    ),
    LogSink: lambda opts, _: LogSink(
        "demo-logs",
        args=LogSinkArgs(
            project="p",
            location="us-central1",
            dataset="logs",
            description="Logs",
            filter='resource.type="cloud_run_job"',
            exclusions={"debug": "severity=DEBUG"},
            kms_key=KEY,
        ),
        opts=opts,
    ),
    NotificationChannels: lambda opts, _: NotificationChannels(
        "alerts",
        args=NotificationChannelsArgs(
            project="p",
            project_number="123456789012",
            emails=["a@example.com"],
            slack_channel="alerts",
            slack_token_secret="slack-token",
            kms_key=KEY,
        ),
        opts=opts,
    ),
    TeamsRelay: lambda opts, _: TeamsRelay(
        "alerts-to-teams",
        args=TeamsRelayArgs(
            project="p",
            location="us-central1",
            image=IMAGE,
            images=gcp.artifactregistry.Repository(
                "images",
                repository_id="images",
                format="DOCKER",
                opts=pulumi.ResourceOptions(provider=_provider(opts)),
            ),
            topic="projects/p/topics/alerts",
            webhooks={"TEAMS_WEBHOOK": "teams-webhook"},
            environment={"ENVIRONMENT": "test"},
            ledger_variable="LEDGER",
            bucket="p-alerts",
            account_id="alerts-to-teams",
            pubsub_agent=AGENT,
            kms_key=KEY,
        ),
        opts=opts,
    ),
    UptimeCheck: lambda opts, _: UptimeCheck(
        "demo-api",
        args=UptimeCheckArgs(
            project="p", title="demo", host="api.example.com", labels={"product": "demo"}
        ),
        opts=opts,
    ),
    DeadLetters: lambda opts, _: DeadLetters(
        "demo-dead-letters", args=DeadLettersArgs(pubsub_agent=AGENT), opts=opts
    ),
    EnabledApis: lambda opts, _: EnabledApis(
        "apis", args=EnabledApisArgs(project="p", apis=["pubsub"], propagation_seconds=1), opts=opts
    ),
    EncryptionKey: lambda opts, _: EncryptionKey(
        "demo",
        args=EncryptionKeyArgs(location="us-central1", encrypters={"pubsub": {"agent": AGENT}}),
        opts=opts,
    ),
    EventStream: lambda opts, _: EventStream(
        "demo-events",
        args=EventStreamArgs(
            avro_schema={
                "type": "record",
                "name": "Event",
                "fields": [{"name": "id", "type": "string"}],
            },
            pubsub_agent=AGENT,
            kms_key=KEY,
        ),
        opts=opts,
    ),
    FlexTemplate: lambda opts, _: _template(opts),
    Image: lambda opts, folder: Image(
        "demo",
        args=ImageArgs(
            repository="us-central1-docker.pkg.dev/p/r",
            dockerfile=folder / "Dockerfile",
            context=folder,
        ),
        opts=opts,
    ),
    ImageRepository: lambda opts, _: ImageRepository(
        "demo", args=ImageRepositoryArgs(project="p", location="us-central1"), opts=opts
    ),
    LandingZone: lambda opts, _: LandingZone(
        "demo",
        args=LandingZoneArgs(
            bucket_prefix="p-demo",
            location="us-central1",
            storage_agent=AGENT,
            kms_key=KEY,
            topic_kms_key=KEY,
            landing_retention_days=365,
        ),
        opts=opts,
    ),
    PipelineRunner: lambda opts, _: _runner(opts),
    PredictionEndpoint: lambda opts, _: PredictionEndpoint(
        "demo",
        args=PredictionEndpointArgs(
            project="p",
            location="us-central1",
            description="Demo",
            request_log="p.predictions.online",
            private=True,
            kms_key=KEY,
        ),
        opts=opts,
    ),
    PredictionLog: lambda opts, _: PredictionLog(
        "demo-predictions",
        args=PredictionLogArgs(
            avro_schema={
                "type": "record",
                "name": "Predicted",
                "fields": [{"name": "id", "type": "string"}],
            },
            table="p.demo_predictions.log",
            dataset_id="demo_predictions",
            pubsub_agent=AGENT,
            location="us-central1",
            kms_key=KEY,
        ),
        opts=opts,
    ),
    PrivateNetwork: lambda opts, _: PrivateNetwork(
        "demo",
        args=PrivateNetworkArgs(region="us-central1", services_cidr="10.65.0.0/20", nat=True),
        opts=opts,
    ),
    PushService: lambda opts, _: PushService(
        "demo-starter",
        args=PushServiceArgs(
            image=IMAGE,
            location="us-central1",
            service_account="demo@p.iam.gserviceaccount.com",
            caller=_account(opts),
            topic="projects/p/topics/landed",
            subscription="landed-starter",
            pubsub_agent=AGENT,
            environment={"PRODUCT": "demo"},
            subnetwork="projects/p/regions/us-central1/subnetworks/s",
            kms_key=KEY,
            topic_kms_key=KEY,
        ),
        opts=opts,
    ),
    ScheduledJob: lambda opts, _: ScheduledJob(
        "demo-batch",
        args=ScheduledJobArgs(
            image=IMAGE,
            location="us-central1",
            service_account="demo@p.iam.gserviceaccount.com",
            scheduler="call@p.iam.gserviceaccount.com",
            schedule="0 4 * * *",
            environment={"PRODUCT": "demo"},
            subnetwork="projects/p/regions/us-central1/subnetworks/s",
            kms_key=KEY,
        ),
        opts=opts,
    ),
    ServiceAgents: lambda opts, _: ServiceAgents(
        "agents",
        args=ServiceAgentsArgs(
            project="p",
            agents=["pubsub", "storage", "bigquery", "compute", "aiplatform", "dataflow"],
        ),
        opts=opts,
    ),
    StreamingJob: lambda opts, _: StreamingJob(
        "demo-streaming",
        args=StreamingJobArgs(
            template=_template(opts),
            parameters={"product": "demo"},
            location="us-central1",
            service_account="demo@p.iam.gserviceaccount.com",
            temporary="gs://b/temp/",
            staging="gs://b/staging/",
        ),
        opts=opts,
    ),
    Warehouse: lambda opts, _: Warehouse(
        "demo",
        args=WarehouseArgs(
            datasets={
                "raw": Dataset(
                    name="demo_raw",
                    description="Raw",
                    tables=[
                        Table(
                            name="events_current",
                            description="Latest",
                            query="SELECT * FROM `p.demo_raw.events`",
                        ),
                        Table(
                            name="events",
                            description="Events",
                            schema=COLUMNS,
                            partition_by="at",
                            cluster_by=("id",),
                            retention_days=10,
                            personal=("id",),
                        ),
                    ],
                ),
                "curated": Dataset(
                    name="demo_curated",
                    description="Curated",
                    views_of=("raw",),
                    readers=("group:analysts@example.com",),
                ),
            },
            policy_tag="projects/p/locations/us-central1/taxonomies/1/policyTags/2",
            project="p",
            location="us-central1",
            kms_key=KEY,
        ),
        opts=opts,
    ),
    WorkloadIdentity: lambda opts, _: WorkloadIdentity(
        "demo-work",
        args=WorkloadIdentityArgs(
            account_id="demo-work",
            description="Works",
            grants=[
                Grant(
                    role="roles/pubsub.publisher",
                    on=gcp.pubsub.Topic("t", opts=pulumi.ResourceOptions(provider=_provider(opts))),
                    label="publish",
                )
            ],
            acts_as_itself=True,
        ),
        opts=opts,
    ),
}
"""Each component with arguments that reach all its branches."""

every_component = pytest.mark.parametrize("component", SAMPLES, ids=lambda one: one.__name__)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text('FROM python:3.13\nENTRYPOINT ["python"]\n')
    return tmp_path


def test_every_component_is_held_to_this_contract() -> None:
    found: set[type] = set()
    for module in pkgutil.iter_modules(components.__path__):
        members = vars(importlib.import_module(f"components.{module.name}")).values()
        found |= {
            one
            for one in members
            if inspect.isclass(one)
            and issubclass(one, pulumi.ComponentResource)
            and one.__module__ == f"components.{module.name}"
        }
    assert found == set(SAMPLES)


@every_component
def test_arguments_are_frozen_and_given_by_keyword(component: type) -> None:
    parameters = inspect.signature(component.__init__).parameters
    assert list(parameters) == ["self", "name", "args", "opts"]
    assert parameters["args"].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters["opts"].kind is inspect.Parameter.KEYWORD_ONLY
    args: Any = getattr(importlib.import_module(component.__module__), f"{component.__name__}Args")
    assert args.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(args))


@pytest.fixture(scope="module")
def known() -> dict[type, Any]:
    """What was declared already, by its component."""
    return {}


@pytest.fixture
def declared(component: type, known: dict[type, Any], declare: Any, folder: Path) -> Any:
    """The component's sample, declared once for all who look at it."""
    if component not in known:
        known[component] = declare(lambda opts: SAMPLES[component](opts, folder))
    return known[component]


@every_component
def test_token_names_module_and_type(component: type, declared: Any) -> None:
    module = component.__module__.removeprefix("components.")
    assert declared.result.pulumi_resource_type == f"esteira:{module}:{component.__name__}"


@every_component
def test_children_have_the_component_as_parent(component: Any, declared: Any) -> None:
    # Made for the sample and not by the component:
    given = {"models", "raw", "features", "images", "caller", "t", "store", "labelled"}
    parents: dict[str, str] = {}
    for urn in declared.monitor.resources:
        qualified, _, name = urn.split("::", 2)[2].partition("::")
        if name not in given:
            parent, _, token = qualified.rpartition("$")
            parents[f"{token} {name}"] = parent
    roots = [one for one, parent in parents.items() if not parent.startswith("esteira:")]
    assert all(one.startswith("esteira:") for one in roots), roots
    assert len(parents) > len(roots)


@every_component
def test_children_get_the_labels_of_the_provider(declared: Any, labels: dict[str, str]) -> None:
    labelled = [one for one in declared.mocks.made if "effectiveLabels" in one.outputs]
    for resource in labelled:
        assert labels.items() <= resource.outputs["effectiveLabels"].items(), resource.name


@every_component
def test_outputs_are_registered_and_none_is_missing(declared: Any) -> None:
    # A value of None is dropped on the way to the engine.
    arrived = {
        urn.split("::", 2)[2].rpartition("$")[2]: set(outputs)
        for urn, outputs in declared.monitor.outputs.items()
        if "$esteira:" in urn
    }
    assert all(declared.promised.values())
    assert arrived == declared.promised
    assert set(arrived) == {f"{token}::{name}" for token, name in declared.mocks.components}


@every_component
def test_attributes_are_set(component: Any, declared: Any) -> None:
    for name in inspect.get_annotations(component):
        assert getattr(declared.result, name) is not None, name


@every_component
def test_everything_public_says_what_it_is(component: type) -> None:
    assert inspect.getdoc(component) != inspect.getdoc(pulumi.ComponentResource)
    args: Any = getattr(importlib.import_module(component.__module__), f"{component.__name__}Args")
    assert not args.__doc__.startswith(f"{args.__name__}(")
