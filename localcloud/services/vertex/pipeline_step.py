"""Runs inside a pipeline step: kfp's executor, with `/gcs/` where the runner mounted it.

On Vertex AI an artifact's `uri` is `gs://...` and its `path` is below a FUSE mount at `/gcs/`.
Here the mount is a folder of the job, whose files the runner copies to and from Cloud Storage.
"""

from __future__ import annotations

import os
import runpy

from kfp.dsl.types import artifact_types

MOUNT_VARIABLE = "ESTEIRA_GCS_MOUNT"

if __name__ == "__main__":
    artifact_types._GCS_LOCAL_MOUNT_PREFIX = os.environ[MOUNT_VARIABLE]  # pyright: ignore[reportPrivateUsage]
    runpy.run_module("kfp.dsl.executor_main", run_name="__main__", alter_sys=True)
