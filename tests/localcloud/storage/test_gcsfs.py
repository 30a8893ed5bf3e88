"""gcsfs, which pandas, pyarrow and dask read `gs://` with. Skipped where it is not installed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from localcloud.services.storage.server import InProcess

# Read at import: gcsfs otherwise asks for the bucket's layout by gRPC.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
gcsfs = pytest.importorskip("gcsfs")


def test_files_and_folders(server: InProcess, tmp_path: Path) -> None:
    files = gcsfs.GCSFileSystem(project="p", token="anon", endpoint_url=server.url)
    files.mkdir("by-gcsfs")
    files.pipe("by-gcsfs/a/small", b"hello")
    assert files.cat("by-gcsfs/a/small") == b"hello"

    big = os.urandom(6 * 1024 * 1024 + 5)
    with files.open("by-gcsfs/a/big", "wb", block_size=1 << 20) as file:
        file.write(big)
    with files.open("by-gcsfs/a/big", "rb") as file:
        file.seek(1_234_567)
        assert file.read(100) == big[1_234_567:1_234_667]
    (tmp_path / "big").write_bytes(big)
    files.put(str(tmp_path / "big"), "by-gcsfs/a/put")
    assert files.cat("by-gcsfs/a/put") == big
    assert files.ls("by-gcsfs/a") == ["by-gcsfs/a/big", "by-gcsfs/a/put", "by-gcsfs/a/small"]

    files.cp("by-gcsfs/a/small", "by-gcsfs/b/copied")
    files.mv("by-gcsfs/b/copied", "by-gcsfs/b/moved")
    files.merge("by-gcsfs/b/merged", ["by-gcsfs/a/small", "by-gcsfs/b/moved"])
    assert files.cat("by-gcsfs/b/merged") == b"hellohello"
    with (
        pytest.raises(FileExistsError),
        files.open("by-gcsfs/b/merged", "xb", block_size=1 << 20) as file,
    ):
        file.write(b"other")
    files.rm(["by-gcsfs/a/small", "by-gcsfs/a/big"])
    assert files.find("by-gcsfs") == [
        "by-gcsfs/a/put",
        "by-gcsfs/b/merged",
        "by-gcsfs/b/moved",
    ]
    files.rm("by-gcsfs", recursive=True)
    assert not files.exists("by-gcsfs")
