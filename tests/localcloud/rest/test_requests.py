"""What the REST door lets in: Google's discovery documents decide."""

from __future__ import annotations

import re

import pytest

from localcloud.rest.discovery import Api
from localcloud.rest.errors import InvalidArgument

V = "GoogleCloudAiplatformV1"
PARENT = "/v1/projects/p/locations/l"


@pytest.fixture(scope="module")
def api() -> Api:
    return Api.load(
        "aiplatform", "v1", types="google.cloud.aiplatform_v1", aliases={"/ui/": "/v1/"}
    )


class TestRoutes:
    @pytest.mark.parametrize(
        ("http_method", "path", "method", "parameters"),
        [
            ("POST", "/models:upload", "models.upload", {"parent": "projects/p/locations/l"}),
            (
                "GET",
                "/models/1@champion",
                "models.get",
                {"name": "projects/p/locations/l/models/1@champion"},
            ),
            (
                "GET",
                "/models/1%40champion",
                "models.get",
                {"name": "projects/p/locations/l/models/1@champion"},
            ),
            (
                "GET",
                "/models/1:listVersions",
                "models.listVersions",
                {"name": "projects/p/locations/l/models/1"},
            ),
            (
                "GET",
                "/endpoints/1/operations/2",
                "endpoints.operations.get",
                {"name": "projects/p/locations/l/endpoints/1/operations/2"},
            ),
        ],
    )
    def test_a_path_names_its_method(
        self, api: Api, http_method: str, path: str, method: str, parameters: dict[str, str]
    ) -> None:
        assert api.match(http_method, PARENT + path) == (
            f"aiplatform.projects.locations.{method}",
            parameters,
        )

    def test_a_verb_that_the_api_lacks_is_no_resource_name(self, api: Api) -> None:
        assert api.match("GET", f"{PARENT}/models/1:explode") is None

    def test_the_wrong_http_method_matches_nothing(self, api: Api) -> None:
        assert api.match("PUT", f"{PARENT}/models/1") is None

    def test_operations_polled_below_ui_are_those_below_v1(self, api: Api) -> None:
        path = "/projects/p/locations/l/operations/1"
        assert api.match("GET", f"/ui{path}") == api.match("GET", f"/v1{path}") is not None

    def test_names_of_any_length_match_where_the_document_says_so(self) -> None:
        run = Api.load("run", "v2")
        found = run.match("GET", "/v2/projects/p/locations/l/jobs/a/executions/b:exportStatus")
        assert found is None or found[0].startswith("run.")
        method, parameters = run.match("POST", "/v2/projects/p/locations/l/jobs/a:run") or ("", {})
        assert (method, parameters["name"]) == (
            "run.projects.locations.jobs.run",
            "projects/p/locations/l/jobs/a",
        )

    @pytest.mark.parametrize(
        "name", ["aiplatform.v1", "run.v2", "cloudscheduler.v1", "dataflow.v1b3"]
    )
    def test_every_method_can_be_reached(self, name: str) -> None:
        api = Api.load(*name.split("."))
        lost: list[str] = []
        for method in api.methods.values():
            # An example of the path: its pattern with the character classes filled in.
            example = re.sub(r"\[\^/:?\]\+", "x", method.regex.pattern).replace(".*", "x/y")
            example = re.sub(r"[\\()]", "", example)
            found = api.match(method.http_method, example)
            if found is None or api.methods[found[0]].regex.fullmatch(example) is None:
                lost.append(method.id)
        assert not lost


class TestBodies:
    def test_a_right_body_passes_with_camel_case_names(self, api: Api) -> None:
        body = {"model": {"display_name": "m", "containerSpec": {"image_uri": "i"}}}
        assert api.validate_body(f"{V}UploadModelRequest", body) == {
            "model": {"displayName": "m", "containerSpec": {"imageUri": "i"}}
        }

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (
                {"modle": {}},
                'Invalid JSON payload received. Unknown name "modle": Cannot find field.',
            ),
            (
                {"model": {"displayNam": "x"}},
                (
                    "Invalid JSON payload received. Unknown name \"displayNam\" at 'model': "
                    "Cannot find field."
                ),
            ),
            (
                {"model": {"containerSpec": {"ports": [{"containerPort": 1}, {"port": 1}]}}},
                (
                    'Invalid JSON payload received. Unknown name "port" at '
                    "'model.container_spec.ports[1]': Cannot find field."
                ),
            ),
            (
                {"model": {"displayName": 3}},
                "Invalid value at 'model.display_name' (TYPE_STRING), 3",
            ),
            (
                {"model": {"labels": {"a": 1}}},
                "Invalid value at 'model.labels[0].value' (TYPE_STRING), 1",
            ),
            (
                {"model": {"displayName": ["a"]}},
                (
                    "Invalid JSON payload received. Unknown name \"display_name\" at 'model': "
                    "Proto field is not repeating, cannot start list."
                ),
            ),
            (
                {"model": {"containerSpec": {"ports": [{"containerPort": 2**40}]}}},
                (
                    "Invalid value at 'model.container_spec.ports[0].container_port' (TYPE_INT32), "
                    "1099511627776"
                ),
            ),
            (
                {"model": {"containerSpec": {"deploymentTimeout": "5 minutes"}}},
                (
                    "Invalid value at 'model.container_spec.deployment_timeout' "
                    '(type.googleapis.com/google.protobuf.Duration), "5 minutes"'
                ),
            ),
        ],
    )
    def test_a_wrong_field_is_named_as_google_names_it(
        self, api: Api, body: dict[str, object], message: str
    ) -> None:
        with pytest.raises(InvalidArgument) as error:
            api.validate_body(f"{V}UploadModelRequest", body)
        assert error.value.message == message

    def test_all_violations_are_reported_at_once(self, api: Api) -> None:
        with pytest.raises(InvalidArgument) as error:
            api.validate_body(f"{V}Endpoint", {"displayName": 1, "colour": "red"})
        (details,) = error.value.details
        assert [one["field"] for one in details["fieldViolations"]] == [
            "endpoint.display_name",
            "endpoint",
        ]

    def test_output_only_fields_are_dropped(self, api: Api) -> None:
        body = {"displayName": "e", "createTime": "2026-01-01T00:00:00Z", "deployedModels": []}
        assert api.validate_body(f"{V}Endpoint", body) == {"displayName": "e"}

    def test_null_means_unset(self, api: Api) -> None:
        assert api.validate_body(f"{V}Endpoint", {"displayName": None}) == {}

    def test_numbers_of_enums_become_their_names(self, api: Api) -> None:
        body = {"runtimeConfig": {"failurePolicy": 2}}
        assert api.validate_body(f"{V}PipelineJob", body) == {
            "runtimeConfig": {"failurePolicy": "PIPELINE_FAILURE_POLICY_FAIL_FAST"}
        }

    @pytest.mark.parametrize("value", [99, "FAIL_SOON", True])
    def test_an_unknown_enum_value_is_refused_with_the_allowed_ones(
        self, api: Api, value: object
    ) -> None:
        with pytest.raises(InvalidArgument, match="PIPELINE_FAILURE_POLICY_FAIL_SLOW"):
            api.validate_body(f"{V}PipelineJob", {"runtimeConfig": {"failurePolicy": value}})

    def test_64_bit_integers_may_be_numbers_or_texts(self, api: Api) -> None:
        for value in (5, "5", 5.0):
            assert api.validate_body(f"{V}Schedule", {"maxRunCount": value}) == {"maxRunCount": "5"}

    def test_free_form_values_pass_untouched(self, api: Api) -> None:
        body = {"instances": [{"Any_Thing": [1, None, {"x": True}]}], "parameters": 3}
        assert api.validate_body(f"{V}PredictRequest", body) == body

    def test_every_schema_compiles(self, api: Api) -> None:
        for name in ("PipelineJob", "Model", "Endpoint", "Schedule", "ModelEvaluation"):
            assert api.violations_of(f"{V}{name}", {}) == []


class TestQueries:
    METHOD = "aiplatform.projects.locations.models.list"

    def test_known_parameters_are_typed(self, api: Api) -> None:
        pairs = [("pageSize", "3"), ("order_by", "x"), ("$alt", "json;enum-encoding=int")]
        assert api.validate_query(self.METHOD, pairs) == {"pageSize": 3, "orderBy": "x"}

    def test_an_unknown_parameter_is_refused(self, api: Api) -> None:
        with pytest.raises(InvalidArgument, match="Field 'pageSze' could not be found"):
            api.validate_query(self.METHOD, [("pageSze", "3")])

    def test_a_wrong_type_is_refused(self, api: Api) -> None:
        with pytest.raises(InvalidArgument, match="TYPE_INT32"):
            api.validate_query(self.METHOD, [("pageSize", "three")])
