"""How models are trained, kept, served and asked."""

from __future__ import annotations

import pulumi
import pulumi_gcp as gcp

from components.api_gateway import ApiGateway, ApiGatewayArgs
from components.cloud_run import Container, Probes
from components.experiment_tracking import ExperimentTracking, ExperimentTrackingArgs
from components.image import Image, ImageArgs
from components.image_repository import ImageRepository, ImageRepositoryArgs
from components.load_balancer import LoadBalancer, LoadBalancerArgs
from components.pipeline_runner import PipelineRunner, PipelineRunnerArgs
from components.prediction_endpoint import PredictionEndpoint, PredictionEndpointArgs
from components.scheduled_job import ScheduledJob, ScheduledJobArgs
from components.tracking_server import TrackingServer, TrackingServerArgs
from components.web_service import WebService, WebServiceArgs
from components.workbench import Workbench, WorkbenchArgs
from examples.components.given import CHECKOUT, IMAGE, KEY, alone


def image_repository(opts: pulumi.ResourceOptions) -> ImageRepository:
    """One repository; what nobody uses is cleaned up."""
    return ImageRepository(
        "demo", args=ImageRepositoryArgs(project="acme-ml", location="us-central1"), opts=opts
    )


def image(opts: pulumi.ResourceOptions) -> Image:
    """An image of this checkout's, referred to by its digest."""
    return Image(
        "demo",
        args=ImageArgs(
            repository="us-central1-docker.pkg.dev/acme-ml/esteira",
            dockerfile=CHECKOUT / "workloads" / "images" / "serving" / "Dockerfile",
            context=CHECKOUT,
        ),
        opts=opts,
    )


def pipeline_runner(opts: pulumi.ResourceOptions) -> PipelineRunner:
    """An identity that trains: reads one dataset, writes another, keeps models in a bucket."""
    plain = alone(opts)
    return PipelineRunner(
        "demo-train",
        args=PipelineRunnerArgs(
            project="acme-ml",
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


def experiment_tracking(opts: pulumi.ResourceOptions) -> ExperimentTracking:
    """A metadata store and a Tensorboard."""
    return ExperimentTracking(
        "demo",
        args=ExperimentTrackingArgs(location="us-central1", kms_key=KEY),
        opts=opts,
    )


def tracking_server(opts: pulumi.ResourceOptions) -> TrackingServer:
    """MLflow, which one workload may call."""
    return TrackingServer(
        "tracking",
        args=TrackingServerArgs(
            location="us-central1",
            bucket="acme-ml-mlflow",
            image=IMAGE,
            service_account="tracking@acme-ml.iam.gserviceaccount.com",
            environment={"DATABASE_NAME": "mlflow"},
            callers={"train": "serviceAccount:train@acme-ml.iam.gserviceaccount.com"},
            kms_key=KEY,
            bucket_kms_key=KEY,
        ),
        opts=opts,
    )


def prediction_endpoint(opts: pulumi.ResourceOptions) -> PredictionEndpoint:
    """An endpoint reached from within, with its requests logged to a table."""
    return PredictionEndpoint(
        "demo",
        args=PredictionEndpointArgs(
            project="acme-ml",
            location="us-central1",
            description="Demo",
            request_log="acme-ml.predictions.online",
            private=True,
            kms_key=KEY,
        ),
        opts=opts,
    )


def web_service(opts: pulumi.ResourceOptions) -> WebService:
    """A service that one identity may call, and only from within."""
    return WebService(
        "demo-api",
        args=WebServiceArgs(
            location="us-central1",
            description="Demo",
            container=Container(image=IMAGE, environment={"PRODUCT": "demo"}),
            service_account="demo@acme-ml.iam.gserviceaccount.com",
            callers={"gateway": "serviceAccount:door@acme-ml.iam.gserviceaccount.com"},
            probes=Probes(startup="/live", liveness="/live"),
            subnetwork="projects/acme-ml/regions/us-central1/subnetworks/s",
            kms_key=KEY,
        ),
        opts=opts,
    )


def api_gateway(opts: pulumi.ResourceOptions) -> ApiGateway:
    """A public door, by an OpenAPI document, to a service that is not public."""
    return ApiGateway(
        "demo",
        args=ApiGatewayArgs(
            project="acme-ml",
            location="us-central1",
            title="Demo",
            document='{"swagger": "2.0"}',
            service_account="door@acme-ml.iam.gserviceaccount.com",
        ),
        opts=opts,
    )


def load_balancer(opts: pulumi.ResourceOptions) -> LoadBalancer:
    """A public name for a service that takes no other way."""
    return LoadBalancer(
        "demo",
        args=LoadBalancerArgs(location="us-central1", service="demo", domain="demo.example.com"),
        opts=opts,
    )


def scheduled_job(opts: pulumi.ResourceOptions) -> ScheduledJob:
    """A job that starts every day at four."""
    return ScheduledJob(
        "demo-batch",
        args=ScheduledJobArgs(
            image=IMAGE,
            location="us-central1",
            service_account="demo@acme-ml.iam.gserviceaccount.com",
            scheduler="call@acme-ml.iam.gserviceaccount.com",
            schedule="0 4 * * *",
            environment={"PRODUCT": "demo"},
            subnetwork="projects/acme-ml/regions/us-central1/subnetworks/s",
            kms_key=KEY,
        ),
        opts=opts,
    )


def workbench(opts: pulumi.ResourceOptions) -> Workbench:
    """A notebook instance for one person, who reads one dataset."""
    plain = alone(opts)
    return Workbench(
        "demo-workbench",
        args=WorkbenchArgs(
            project="acme-ml",
            zone="us-central1-a",
            account_id="demo-workbench",
            reads={
                "curated": gcp.bigquery.Dataset(
                    "raw",
                    dataset_id="raw",
                    opts=plain,
                )
            },
            users=["user:ana@example.com"],
            subnetwork="projects/acme-ml/regions/us-central1/subnetworks/s",
            kms_key=KEY,
        ),
        opts=opts,
    )
