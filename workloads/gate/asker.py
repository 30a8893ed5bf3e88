"""Who or what asks: for the record of a decision, and of an experiment."""

from __future__ import annotations

import os


def asker() -> str:
    """The workflow run, the Cloud Run execution, the pipeline job, or else the person's account.

    Only for the record: nothing is allowed or refused by it.
    """
    found = os.environ.get
    if actor := found("GITHUB_ACTOR"):
        run = f"{found('GITHUB_REPOSITORY', '')}/actions/runs/{found('GITHUB_RUN_ID', '')}"
        return f"{actor} by workflow {run}"
    if execution := found("CLOUD_RUN_EXECUTION"):
        return f"Cloud Run job {found('CLOUD_RUN_JOB', '')}, execution {execution}"
    if service := found("K_SERVICE"):
        return f"Cloud Run service {service}"
    if job := found("CLOUD_ML_JOB_ID"):
        return f"Vertex AI job {job}"
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"user {os.getuid()}"
