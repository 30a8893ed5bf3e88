"""The Model Registry, driven by Google's own SDK."""

from __future__ import annotations

from typing import Any

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform, aiplatform_v1
from google.cloud.aiplatform.models import ModelRegistry

from .conftest import IMAGE, LOCATION, PROJECT, Cloud, upload

PARENT = f"projects/{PROJECT}/locations/{LOCATION}"


@pytest.fixture
def models(cloud: Cloud) -> aiplatform_v1.ModelServiceClient:
    return aiplatform_v1.ModelServiceClient(
        transport="rest",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": cloud.url},
    )


class TestVersions:
    def test_the_first_version_is_the_default(self) -> None:
        model = upload("first", version_aliases=["champion"], version_description="the first")
        assert model.version_id == "1"
        assert sorted(model.version_aliases) == ["champion", "default"]
        assert model.version_description == "the first"

    def test_a_new_version_takes_the_default_unless_told_otherwise(self) -> None:
        first = upload("versions")
        challenger = upload(
            "versions",
            parent_model=first.resource_name,
            is_default_version=False,
            version_aliases=["challenger"],
        )
        assert (challenger.version_id, challenger.version_aliases) == ("2", ["challenger"])
        assert aiplatform.Model(first.resource_name).version_id == "1"
        third = upload("versions", parent_model=first.resource_name)
        assert third.version_id == "3"
        assert aiplatform.Model(first.resource_name).version_id == "3"

    def test_a_version_is_found_by_number_and_by_alias(self) -> None:
        first = upload("found", version_aliases=["champion"])
        upload("found", parent_model=first.resource_name)
        for version in ("1", "champion"):
            assert aiplatform.Model(first.resource_name, version=version).version_id == "1"
        with pytest.raises(exceptions.NotFound):
            aiplatform.Model(first.resource_name, version="7")
        with pytest.raises(exceptions.NotFound):
            aiplatform.Model(first.resource_name, version="nobody")

    def test_an_alias_moves_with_a_merge(self) -> None:
        first = upload("aliases", version_aliases=["champion"])
        upload("aliases", parent_model=first.resource_name, is_default_version=False)
        registry = ModelRegistry(first.resource_name)
        registry.add_version_aliases(["champion", "default"], "2")
        assert sorted(registry.get_version_info("2").version_aliases) == ["champion", "default"]
        assert registry.get_version_info("1").version_aliases == []
        registry.remove_version_aliases(["champion"], "2")
        assert registry.get_version_info("2").version_aliases == ["default"]
        with pytest.raises(exceptions.BadRequest, match="only moved"):
            registry.remove_version_aliases(["default"], "2")

    def test_an_alias_that_looks_like_a_number_is_refused(self) -> None:
        with pytest.raises(exceptions.BadRequest, match="Invalid version alias '2'"):
            upload("numbers", version_aliases=["2"])

    def test_versions_are_listed_and_deleted(self) -> None:
        first = upload("deleted")
        upload("deleted", parent_model=first.resource_name)
        registry = ModelRegistry(first.resource_name)
        assert [one.version_id for one in registry.list_versions()] == ["1", "2"]
        with pytest.raises(exceptions.BadRequest, match="default version"):
            registry.delete_version("2")
        registry.delete_version("1")
        assert [one.version_id for one in registry.list_versions()] == ["2"]
        with pytest.raises(exceptions.BadRequest, match="only version"):
            registry.delete_version("2")

    def test_version_numbers_are_not_given_twice(self) -> None:
        first = upload("counted")
        upload("counted", parent_model=first.resource_name, is_default_version=False)
        ModelRegistry(first.resource_name).delete_version("2")
        assert upload("counted", parent_model=first.resource_name).version_id == "3"

    def test_a_model_is_deleted_with_its_versions(self) -> None:
        model = upload("gone")
        model.delete()
        with pytest.raises(exceptions.NotFound):
            aiplatform.Model(model.resource_name)


class TestUpload:
    def test_what_was_given_is_kept(self) -> None:
        model = upload(
            "kept",
            labels={"product": "flight-delay"},
            description="a model",
            serving_container_args=["--workers", "1"],
            serving_container_environment_variables={"SCALE": "2"},
            serving_container_ports=[8080],
        )
        kept = aiplatform.Model(model.resource_name)
        assert kept.uri == "gs://models/adder/1"
        assert kept.labels == {"product": "flight-delay"}
        spec = kept.container_spec
        assert spec is not None
        assert (spec.image_uri, list(spec.args)) == (IMAGE, ["--workers", "1"])
        assert (spec.env[0].name, spec.ports[0].container_port) == ("SCALE", 8080)
        assert kept.gca_resource.etag

    def test_an_image_that_nobody_built_is_refused(self) -> None:
        with pytest.raises(exceptions.BadRequest, match=r"Image 'gcr\.io/p/x:1' not found"):
            upload("no-image", serving_container_image_uri="gcr.io/p/x:1")

    def test_an_unknown_parent_is_refused(self) -> None:
        with pytest.raises(exceptions.NotFound):
            upload("orphan", parent_model=f"{PARENT}/models/404")

    def test_a_chosen_id_is_taken_once(self) -> None:
        assert upload("chosen", model_id="my-model").name == "my-model"
        with pytest.raises(exceptions.Conflict):
            upload("chosen", model_id="my-model")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"labels": {"Upper": "x"}}, "Invalid label key 'Upper'"),
            ({"labels": {"a": "No"}}, "Invalid value 'No' of label 'a'"),
            ({"serving_container_predict_route": "predict"}, "must begin with a slash"),
        ],
    )
    def test_wrong_values_are_refused(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises((exceptions.BadRequest, RuntimeError, ValueError), match=message):
            upload("wrong", **changes)

    def test_artifacts_lie_in_cloud_storage(self, models: aiplatform_v1.ModelServiceClient) -> None:
        model = aiplatform_v1.Model(display_name="local", artifact_uri="/srv/model")
        with pytest.raises(exceptions.BadRequest, match="artifact_uri '/srv/model'"):
            models.upload_model(parent=PARENT, model=model)


class TestLists:
    def test_a_filter_takes_names_and_labels(self) -> None:
        upload("filtered", labels={"env": "prod"})
        upload("filtered", labels={"env": "dev"})
        both = aiplatform.Model.list(filter="display_name=filtered")
        assert len(both) == 2
        (one,) = aiplatform.Model.list(filter='display_name="filtered" AND labels.env=prod')
        assert one.labels == {"env": "prod"}
        newest = aiplatform.Model.list(filter="labels.env:*", order_by="create_time desc")[0]
        assert newest.labels == {"env": "dev"}
        with pytest.raises(exceptions.BadRequest, match="is not one of"):
            aiplatform.Model.list(filter="colour=red")

    def test_pages_are_followed(self, models: aiplatform_v1.ModelServiceClient) -> None:
        for _ in range(3):
            upload("paged")
        request = aiplatform_v1.ListModelsRequest(
            parent=PARENT, filter="display_name=paged", page_size=2
        )
        pages = [len(page.models) for page in models.list_models(request).pages]
        assert pages == [2, 1]

    def test_a_list_shows_each_model_once_by_its_default(self) -> None:
        first = upload("once")
        upload("once", parent_model=first.resource_name)
        (model,) = aiplatform.Model.list(filter="display_name=once")
        assert model.version_id == "2"


class TestUpdates:
    def test_named_fields_change(self) -> None:
        model = upload("before", labels={"a": "1"})
        model.update(display_name="after", labels={"b": "2"})
        changed = aiplatform.Model(model.resource_name)
        assert (changed.display_name, changed.labels) == ("after", {"b": "2"})

    def test_an_out_of_date_etag_is_aborted(self, models: aiplatform_v1.ModelServiceClient) -> None:
        model = models.get_model(name=upload("raced").resource_name)
        model.description = "first"
        models.update_model(model=model, update_mask={"paths": ["description"]})
        model.description = "second"
        with pytest.raises(exceptions.Conflict):
            models.update_model(model=model, update_mask={"paths": ["description"]})

    def test_what_is_immutable_stays(self, models: aiplatform_v1.ModelServiceClient) -> None:
        model = aiplatform_v1.Model(name=upload("fixed").resource_name, artifact_uri="gs://x/y")
        with pytest.raises(exceptions.BadRequest, match="cannot be updated"):
            models.update_model(model=model, update_mask={"paths": ["artifact_uri"]})


def test_evaluations_belong_to_a_version(models: aiplatform_v1.ModelServiceClient) -> None:
    first = upload("evaluated")
    second = upload("evaluated", parent_model=first.resource_name)
    imported = models.import_model_evaluation(
        parent=f"{first.resource_name}@1",
        model_evaluation={
            "display_name": "hold-out",
            "metrics": {"auRoc": 0.68},
            "metrics_schema_uri": "gs://google-cloud-aiplatform/schema/modelevaluation/classification_metrics_1.0.0.yaml",
        },
    )
    old = aiplatform.Model(first.resource_name, version="1")
    assert [dict(one.metrics) for one in old.list_model_evaluations()] == [{"auRoc": 0.68}]
    assert models.get_model_evaluation(name=imported.name).display_name == "hold-out"
    assert second.list_model_evaluations() == []


def test_an_unknown_field_is_refused_by_name(cloud: Cloud) -> None:
    import requests

    answer = requests.post(f"{cloud.url}/v1/{PARENT}/models:upload", json={"model": {"nam": "x"}})
    assert answer.status_code == 400
    assert "Unknown name \"nam\" at 'model'" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path",
    ["batchPredictionJobs", "customJobs", "tuningJobs", "metadataStores/default/contexts"],
)
def test_what_the_local_cloud_lacks_it_refuses(cloud: Cloud, path: str) -> None:
    import requests

    answer = requests.post(f"{cloud.url}/v1/{PARENT}/{path}", json={})
    assert (answer.status_code, answer.json()["error"]["status"]) == (501, "UNIMPLEMENTED")


def test_an_experiment_is_refused_and_not_pretended() -> None:
    with pytest.raises(exceptions.MethodNotImplemented, match="local cloud does not implement"):
        aiplatform.init(experiment="trial")
