"""Where no Pulumi engine can be had, the same program makes the same platform in process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from localcloud import daemon
from localcloud.home import Home

_RUN = """
import json
from esteira.engine import in_process
outputs, resources = in_process.up(lambda line: None)
print(json.dumps({"outputs": outputs, "resources": resources}))
"""


@pytest.mark.long
def test_the_platform_comes_up_without_an_engine_and_again(tmp_path: Path) -> None:
    env = {**os.environ, "ESTEIRA_STATE": str(tmp_path)}
    try:
        first, second = (
            json.loads(
                subprocess.run(
                    [sys.executable, "-c", _RUN],
                    env=env,
                    check=True,
                    stdout=subprocess.PIPE,
                    timeout=200,
                ).stdout
            )
            for _ in range(2)
        )
        product = first["outputs"]["esteira"]["products"]["flight-delay"]
        assert product["endpoint"]["name"].endswith(product["endpoint"]["number"])
        assert first["resources"] > 90
        assert second["resources"] == first["resources"]
        assert second["outputs"]["esteira"] == first["outputs"]["esteira"]
    finally:
        daemon.stop(Home(tmp_path / "local"))
