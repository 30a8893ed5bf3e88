"""`python -m localcloud.services.vertex.pipeline_runner FOLDER`: runs one pipeline job.

`kfp.local` walks the pipeline; this module tells it how a step becomes a process (the image's
environment and folder, the local cloud's addresses), gives artifacts the `gs://` URIs that they
would have on Vertex AI, copies them to Cloud Storage after each step, and reports progress.
kfp.local offers no callbacks, so its module-level functions are wrapped; the pinned version of kfp
and the tests of this module hold that together.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from google.protobuf import json_format
from kfp import dsl, local
from kfp.local import (
    executor_input_utils,
    pipeline_orchestrator,
    status,
    subprocess_task_handler,
    task_dispatcher,
)
from kfp.local.orchestrator import task_executor
from kfp.pipeline_spec import pipeline_spec_pb2

from localcloud.home import Home
from localcloud.images import ImageNotFound, Images
from localcloud.rest.operations import now
from localcloud.services.vertex import pipeline_events
from localcloud.services.vertex.pipeline_events import JOB_FILE, Artifact, Event, Job
from localcloud.services.vertex.pipeline_install import without_needless_install
from localcloud.services.vertex.pipeline_spec import EXECUTOR_MODULE
from localcloud.services.vertex.pipeline_step import MOUNT_VARIABLE

_STEP_MODULE: Final = "localcloud.services.vertex.pipeline_step"
_TAIL_LINES: Final = 30
# References to these registries are the local cloud's own images; any other base image stands for
# this machine's interpreter.
_REGISTRIES: Final = (".pkg.dev/", "gcr.io/")


class _Step(threading.local):
    """The execution that the current thread is in; parallel tasks run in threads of their own."""

    def __init__(self) -> None:
        self.execution = 0
        self.image = ""
        self.inputs: dict[str, Any] = {}
        self.lines: collections.deque[str] = collections.deque(maxlen=_TAIL_LINES)


class Runner:
    """One run of one pipeline.

    Args:
        folder: holds `job.json`; the work happens below it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._job = msgspec.json.decode((folder / JOB_FILE).read_bytes(), type=Job)
        self._images = Images(Home(Path(self._job.home)))
        # With the trailing slash that kfp's own constant has.
        self._mount = f"{folder / 'gcs'}/"
        self._work = folder / "work"
        self._numbers = itertools.count(1)
        self._step = _Step()
        self._bucket_cache: dict[str, Any] = {}
        self._storage: Any = None
        self._lock = threading.Lock()

    def run(self) -> None:
        """Run it to the end.

        Raises:
            RuntimeError: a task failed; its event says why.
        """
        self._wrap()
        local.init(
            runner=local.SubprocessRunner(use_venv=False),
            pipeline_root=str(self._work),
            workspace_root=str(self._folder / "workspace"),
            raise_on_error=True,
        )
        spec = pipeline_spec_pb2.PipelineSpec()  # pyright: ignore[reportAttributeAccessIssue]
        json_format.ParseDict(self._job.spec, spec)
        pipeline_orchestrator.run_local_pipeline(spec, dict(self._job.parameters))

    def _wrap(self) -> None:
        execute = task_executor.execute_single_task
        dispatch = task_dispatcher.run_single_task_implementation
        construct = executor_input_utils.construct_executor_input

        def execute_single_task(task_name: str, *args: Any, **kwargs: Any) -> Any:
            return self._execute(execute, task_name, *args, **kwargs)

        def run_single_task_implementation(**kwargs: Any) -> Any:
            self._step.image = kwargs["executor_spec"].container.image
            self._step.inputs = kwargs["arguments"]
            self._download(kwargs["arguments"])
            return dispatch(**kwargs)

        def construct_executor_input(**kwargs: Any) -> Any:
            made = construct(**kwargs)
            self._give_uris(made, kwargs["task_root"])
            return made

        def construct_local_task_root(
            pipeline_root: str, pipeline_resource_name: str, task_resource_name: str
        ) -> str:
            # kfp's own is the same for all iterations of a loop.
            return f"{pipeline_root}/{task_resource_name}_{self._step.execution}"

        task_executor.execute_single_task = execute_single_task
        task_dispatcher.run_single_task_implementation = run_single_task_implementation
        executor_input_utils.construct_executor_input = construct_executor_input
        executor_input_utils.construct_local_task_root = construct_local_task_root
        subprocess_task_handler.run_local_subprocess = self._run_process
        # Warns about images without "python" in their name; ours stand for a Dockerfile.
        subprocess_task_handler.SubprocessTaskHandler.validate_image = _accept_image

    def _execute(
        self, execute: Callable[..., Any], task_name: str, *args: Any, **kwargs: Any
    ) -> tuple[dict[str, Any], status.Status]:
        step = self._step
        step.execution = next(self._numbers)
        step.inputs = {}
        step.lines = collections.deque(maxlen=_TAIL_LINES)
        self._report(task_name, "RUNNING")
        try:
            outputs, outcome = execute(task_name, *args, **kwargs)
            if outcome == status.Status.SUCCESS:
                self._upload(outputs)
        except Exception as error:
            self._report(task_name, "FAILED", error=f"{type(error).__name__}: {error}")
            raise
        inputs = {
            "input_parameters": _parameters(step.inputs),
            "input_artifacts": _artifacts(step.inputs),
        }
        if outcome == status.Status.SUCCESS:
            self._report(
                task_name,
                "SUCCEEDED",
                **inputs,
                output_parameters=_parameters(outputs),
                output_artifacts=_artifacts(outputs),
            )
        else:
            tail = "\n".join(step.lines).strip()
            self._report(
                task_name,
                "FAILED",
                **inputs,
                error=f"The task {task_name} failed. Last lines of its log:\n{tail}",
            )
        return outputs, outcome

    def _report(self, task: str, state: str, **more: Any) -> None:
        event = Event(at=now(), task=task, execution=self._step.execution, state=state, **more)
        with self._lock:
            pipeline_events.write(self._folder, event)

    def _run_process(
        self, full_command: Sequence[str], env_vars: Mapping[str, str] | None = None
    ) -> int:
        """kfp's own, with our environment, folder and log."""
        command = [
            word.replace(EXECUTOR_MODULE, _STEP_MODULE)
            for word in without_needless_install(full_command)
        ]
        image_environment, folder = self._image()
        search = [
            image_environment.get("PYTHONPATH", ""),
            str(folder) if folder else "",
            str(Path(__file__).parents[3]),
            os.environ.get("PYTHONPATH", ""),
        ]
        scratch = self._folder / "scratch" / str(self._step.execution)
        temporary = scratch / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            # The processors are everybody's here: a thread that waits for another must not keep one
            # busy. Where they are contended, gradient boosting takes a tenth of the time for it.
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
            **image_environment,
            **(env_vars or {}),
            MOUNT_VARIABLE: self._mount,
            # kfp has each step make a folder for its code; a container would take it along.
            "TMPDIR": str(temporary.resolve()),
            "PYTHONPATH": os.pathsep.join(part for part in search if part),
            # Steps have nothing to do with the command that pip's notice is about.
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            bufsize=1,
            env=environment,
            cwd=folder or scratch,
        ) as process:
            for line in process.stdout or ():
                self._step.lines.append(line.rstrip())
                sys.stdout.write(line)
                sys.stdout.flush()
            return process.wait()

    def _image(self) -> tuple[dict[str, str], Path | None]:
        reference = self._step.image
        try:
            image = self._images.resolve(reference)
        except ImageNotFound:
            if any(registry in reference for registry in _REGISTRIES):
                raise
            return {}, None
        return image.environment(), image.cwd

    def _give_uris(self, executor_input: Any, task_root: str) -> None:
        """Output artifacts get the URI below the run's output folder that Vertex would give."""
        task = Path(task_root).name
        for artifacts in executor_input.outputs.artifacts.values():
            for artifact in artifacts.artifacts:
                artifact.uri = f"{self._job.output}/{task}/{Path(artifact.uri).name}"

    def _local(self, uri: str) -> Path:
        return Path(self._mount) / uri.removeprefix("gs://")

    def _upload(self, outputs: Mapping[str, Any]) -> None:
        for artifact in _each_artifact(outputs):
            path = self._local(artifact.uri)
            if not artifact.uri.startswith("gs://") or not path.exists():
                continue
            files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
            for file in files:
                bucket, _, name = str(file.relative_to(self._mount)).partition("/")
                self._bucket(bucket).blob(name).upload_from_filename(str(file))

    def _download(self, arguments: Mapping[str, Any]) -> None:
        """Fetch what this run did not produce itself, such as an importer's artifact."""
        for artifact in _each_artifact(arguments):
            path = self._local(artifact.uri)
            if not artifact.uri.startswith("gs://") or path.exists():
                continue
            bucket, _, prefix = artifact.uri.removeprefix("gs://").partition("/")
            for blob in self._bucket(bucket).list_blobs(prefix=prefix):
                rest = blob.name.removeprefix(prefix)
                if blob.name.endswith("/") or (rest and not rest.startswith("/")):
                    continue
                target = self._local(f"gs://{bucket}/{blob.name}")
                target.parent.mkdir(parents=True, exist_ok=True)
                blob.download_to_filename(str(target))

    def _bucket(self, name: str) -> Any:
        with self._lock:
            if self._storage is None:
                from google.auth.credentials import AnonymousCredentials
                from google.cloud import storage

                self._storage = storage.Client(
                    project=self._job.project, credentials=AnonymousCredentials()
                )
            return self._storage.bucket(name)


def _accept_image(self: Any, image: str) -> None:
    return


def _each_artifact(values: Mapping[str, Any]) -> Iterator[dsl.Artifact]:
    for value in values.values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dsl.Artifact):
                yield one


def _is_artifact(value: Any) -> bool:
    return isinstance(value, dsl.Artifact) or (
        isinstance(value, list) and bool(value) and all(isinstance(v, dsl.Artifact) for v in value)
    )


def _parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not _is_artifact(value)}


def _artifacts(values: Mapping[str, Any]) -> dict[str, list[Artifact]]:
    return {
        name: [
            Artifact(
                name=one.name.rpartition("/")[2] or name,
                uri=one.uri,
                schema_title=one.schema_title,
                schema_version=one.schema_version,
                metadata=dict(one.metadata),
            )
            for one in (value if isinstance(value, list) else [value])
        ]
        for name, value in values.items()
        if _is_artifact(value)
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when the pipeline succeeded, 1 when a task failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args(arguments).folder
    try:
        Runner(folder).run()
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        for scrap in ("gcs", "work", "scratch"):
            shutil.rmtree(folder / scrap, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
