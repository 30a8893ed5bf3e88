"""What a submitted pipeline must look like to be run here, checked before anything starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from localcloud.rest.errors import InvalidArgument, Unimplemented

EXECUTOR_MODULE: Final = "kfp.dsl.executor_main"
_SCHEMA_VERSION: Final = "2.1.0"
# kfp's parameter types and the JSON types of their values.
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "NUMBER_DOUBLE": (int, float),
    "NUMBER_INTEGER": (int, float),
    "STRING": (str,),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}


def check(spec: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """
    Args:
        spec: the compiled pipeline.
        config: the job's runtime configuration.

    Raises:
        InvalidArgument: the spec or a parameter is wrong.
        Unimplemented: it is right, but needs what the local cloud lacks.
    """
    check_spec(spec)
    output: str = config.get("gcsOutputDirectory", "")
    if not output.startswith("gs://") or not output.removeprefix("gs://").strip("/"):
        raise InvalidArgument(
            f"runtime_config.gcs_output_directory must be a Cloud Storage folder, got '{output}'; "
            "set pipeline_root."
        )
    for field in ("parameters", "inputArtifacts"):
        if config.get(field):
            raise Unimplemented(
                f"The local cloud does not support runtime_config.{field}; use parameterValues."
            )
    _check_parameters(spec["root"], config.get("parameterValues", {}))


def check_spec(spec: Mapping[str, Any]) -> None:
    """
    Args:
        spec: the compiled pipeline.

    Raises:
        InvalidArgument: it is none that kfp 2 compiled.
        Unimplemented: it needs what the local cloud lacks.
    """
    if not spec.get("pipelineInfo", {}).get("name") or "root" not in spec:
        raise InvalidArgument(
            "pipeline_spec must be a compiled pipeline with pipelineInfo.name and root: compile "
            "it with kfp.compiler.Compiler."
        )
    version = spec.get("schemaVersion")
    if version != _SCHEMA_VERSION:
        raise InvalidArgument(
            f"pipeline_spec.schemaVersion '{version}' is not supported: compile the pipeline with "
            f"kfp 2, which writes {_SCHEMA_VERSION}."
        )
    _check_executors(spec)


def _check_parameters(root: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    inputs: Mapping[str, Mapping[str, Any]] = root.get("inputDefinitions", {}).get("parameters", {})
    unknown = sorted(set(values) - set(inputs))
    if unknown:
        raise InvalidArgument(
            f"The pipeline has no parameter {', '.join(unknown)}; it has "
            f"{', '.join(sorted(inputs)) or 'none'}."
        )
    for name, definition in inputs.items():
        if name not in values:
            if "defaultValue" not in definition and not definition.get("isOptional"):
                raise InvalidArgument(
                    f"The pipeline's parameter '{name}' has no default value and is missing in "
                    "runtime_config.parameter_values."
                )
            continue
        kind = definition.get("parameterType", "")
        allowed = _TYPES.get(kind)
        value = values[name]
        if value is None and definition.get("isOptional"):
            continue
        wrong = allowed is not None and (
            not isinstance(value, allowed) or (isinstance(value, bool) and kind != "BOOLEAN")
        )
        fraction = isinstance(value, float) and not value.is_integer()
        if wrong or (kind == "NUMBER_INTEGER" and fraction):
            raise InvalidArgument(f"The pipeline's parameter '{name}' is a {kind}, got {value!r}.")


def _check_executors(spec: Mapping[str, Any]) -> None:
    executors: Mapping[str, Mapping[str, Any]] = spec.get("deploymentSpec", {}).get("executors", {})
    for name, executor in executors.items():
        container = executor.get("container")
        if container is None:
            if "importer" not in executor:
                raise Unimplemented(
                    f"Executor '{name}' is neither a Python component nor an importer; the local "
                    "cloud runs nothing else."
                )
            continue
        words = [*container.get("command", []), *container.get("args", [])]
        lightweight = any(EXECUTOR_MODULE in word for word in words) and "sh" in words[:1]
        if not lightweight:
            raise Unimplemented(
                f"Executor '{name}' is a container component (image '{container.get('image')}'); "
                "the local cloud runs lightweight Python components (@dsl.component) only."
            )


def leaf_tasks(spec: Mapping[str, Any]) -> list[str]:
    """Names of the tasks that do work, in the order in which they are written."""
    components: Mapping[str, Mapping[str, Any]] = spec.get("components", {})

    def walk(dag: Mapping[str, Any]) -> Iterator[str]:
        for name, task in dag.get("tasks", {}).items():
            component = components.get(task.get("componentRef", {}).get("name", ""), {})
            if "dag" in component:
                yield from walk(component["dag"])
            else:
                yield name

    return list(walk(spec["root"].get("dag", {})))
