"""Flex templates: the specification in Cloud Storage, and what may be launched from it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec

from localcloud.home import Home
from localcloud.images import Image, ImageNotFound, Images
from localcloud.rest.discovery import Api
from localcloud.rest.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
    Unimplemented,
)

_JOB_NAME: Final = re.compile(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?")
_OBJECT: Final = re.compile(r"gs://(?P<bucket>[^/]+)/(?P<object>.+)")
_READ_SECONDS: Final = 10.0
PY_FILE: Final = "FLEX_TEMPLATE_PYTHON_PY_FILE"


@dataclass(frozen=True)
class Template:
    """A checked specification: what to run, and what it takes."""

    image: Image
    py_file: Path
    """On this machine."""
    streaming: bool
    parameters: Sequence[Mapping[str, Any]] | None
    """`ParameterMetadata` of each, or None where the template declares nothing."""
    default_environment: Mapping[str, Any]


class Templates:
    """Reads specifications from the local Cloud Storage."""

    def __init__(self, home: Home, api: Api, images: Images) -> None:
        self._home = home
        self._api = api
        self._images = images

    async def load(self, launch: Mapping[str, Any]) -> Template:
        """The template that a launch names.

        Raises:
            InvalidArgument: there is no specification, or it is wrong.
            NotFound: its image was not built here.
            FailedPrecondition: its image holds no pipeline.
            Unimplemented: it is not a Python template.
        """
        given = launch.get("containerSpec")
        path = launch.get("containerSpecGcsPath")
        if (given is None) == (path is None):
            raise InvalidArgument(
                "launch_parameter: exactly one of container_spec and container_spec_gcs_path is "
                "required."
            )
        spec: Mapping[str, Any] = given if given is not None else await self._read(str(path))
        language = (spec.get("sdkInfo") or {}).get("language")
        if language != "PYTHON":
            raise Unimplemented(
                f"container_spec.sdk_info.language: '{language}' is not supported by the local "
                "cloud; it runs PYTHON."
            )
        image = self._image(spec.get("image") or "")
        metadata = spec.get("metadata") or {}
        return Template(
            image=image,
            py_file=_py_file(image),
            streaming=bool(metadata.get("streaming")),
            parameters=metadata.get("parameters"),
            default_environment=spec.get("defaultEnvironment") or {},
        )

    def _image(self, reference: str) -> Image:
        if not reference:
            raise InvalidArgument("container_spec.image: an image is required.")
        try:
            return self._images.resolve(reference)
        except ImageNotFound as error:
            raise NotFound(str(error)) from None

    async def _read(self, path: str) -> Mapping[str, Any]:
        match = _OBJECT.fullmatch(path)
        if match is None:
            raise InvalidArgument(f"container_spec_gcs_path: '{path}' must be gs://BUCKET/OBJECT.")
        url = (
            f"{self._home.endpoints().url('storage')}/storage/v1/b/{match['bucket']}/o/"
            f"{quote(match['object'], safe='')}?alt=media"
        )
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=_READ_SECONDS) as client:
                answer = await client.get(url)
        except httpx.HTTPError as error:
            raise Unavailable(f"Unable to open template file: {path}: {error!r}") from None
        if answer.status_code != 200:
            raise InvalidArgument(
                f"Unable to open template file: {path}. Cloud Storage answered "
                f"{answer.status_code}."
            )
        try:
            return self._api.validate_body("ContainerSpec", msgspec.json.decode(answer.content))
        except msgspec.DecodeError as error:
            raise InvalidArgument(f"The template file {path} is not JSON: {error}") from None
        except InvalidArgument as error:
            raise InvalidArgument(f"The template file {path} is wrong: {error.message}") from None


def _py_file(image: Image) -> Path:
    named = image.env.get(PY_FILE)
    if not named:
        raise FailedPrecondition(
            f"Image '{image.reference}' has no {PY_FILE} in its environment; its Dockerfile must "
            f"say `ENV {PY_FILE}=/path/of/pipeline.py`."
        )
    located = image.locate(named)
    if located is None:
        raise FailedPrecondition(
            f"Image '{image.reference}' names {named} as {PY_FILE}, which its Dockerfile copies "
            "from nowhere."
        )
    return located


def check_job_name(name: str | None) -> str:
    """The job's name.

    Raises:
        InvalidArgument: it is missing or malformed.
    """
    if not name or not _JOB_NAME.fullmatch(name):
        raise InvalidArgument(
            f"The workflow could not be created. Causes: Invalid job name ({name or ''}); the name "
            "must consist of only the characters [-a-z0-9], starting with a letter and ending "
            "with a letter or number."
        )
    return name


def check_parameters(
    declared: Sequence[Mapping[str, Any]] | None, given: Mapping[str, str]
) -> None:
    """Hold parameters to the template's metadata.

    Raises:
        InvalidArgument: with every violation, as Google lists them.
    """
    if declared is None:
        return
    known = {one.get("name", ""): one for one in declared}
    violations: list[tuple[str, str]] = [
        (name, f"Unrecognized parameter; the template takes {', '.join(sorted(known)) or 'none'}")
        for name in given
        if name not in known
    ]
    for name, one in known.items():
        if name not in given:
            if not one.get("isOptional"):
                violations.append((name, "Missing required input"))
            continue
        value = given[name]
        violations += [
            (name, f"Unmatched regular expression: '{value}' must match {regex}")
            for regex in one.get("regexes") or []
            if not re.search(regex, value)
        ]
        options = [option.get("value") for option in one.get("enumOptions") or []]
        if one.get("paramType") == "ENUM" and options and value not in options:
            violations.append((name, f"'{value}' is not one of {', '.join(map(str, options))}"))
    if violations:
        listed = "; ".join(f"{name}: {what}" for name, what in violations)
        raise InvalidArgument(
            f"The template parameters are invalid. Details: {listed}.",
            [
                {
                    "@type": "type.googleapis.com/google.dataflow.v1beta3."
                    "InvalidTemplateParameters",
                    "parameterViolations": [
                        {"parameter": name, "description": what} for name, what in violations
                    ],
                }
            ],
        )


def check_environment(environment: Mapping[str, Any]) -> None:
    """Refuse folders that are not in Cloud Storage.

    Raises:
        InvalidArgument: naming the field.
    """
    for field in ("tempLocation", "stagingLocation"):
        if (value := environment.get(field)) and not value.startswith("gs://"):
            raise InvalidArgument(f"environment.{field}: '{value}' must begin with gs://.")
    low, high = environment.get("numWorkers", 0), environment.get("maxWorkers", 0)
    if high and low > high:
        raise InvalidArgument(
            f"environment.num_workers: {low} is greater than max_workers, {high}."
        )
