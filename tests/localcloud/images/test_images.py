"""An image is what it would start, and changes when its code does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from localcloud.dockerfile import DockerfileError
from localcloud.home import Home
from localcloud.images import Image, ImageNotFound, ImageNotRunnable, Images

REFERENCE = "us-central1-docker.pkg.dev/p/esteira/serving:1.0"


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(Home(tmp_path / "home"))


@pytest.fixture
def context(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "workloads" / "serving").mkdir(parents=True)
    (root / "workloads" / "__init__.py").touch()
    (root / "workloads" / "serving" / "__main__.py").write_text("print('served')\n")
    (root / "notes.md").write_text("not in the image")
    return root


def build(images: Images, context: Path, text: str, **options: object) -> Image:
    (context / "Dockerfile").write_text(text)
    digest = images.build(REFERENCE, context / "Dockerfile", context, **options)  # type: ignore[arg-type]
    image = images.resolve(REFERENCE)
    assert image.digest == digest
    return image


SERVING = """\
# syntax=docker/dockerfile:1
ARG PYTHON=3.13
FROM python:${PYTHON}-slim AS builder
RUN pip install --prefix=/opt/venv \\
    # a comment inside a continued line
    msgspec
FROM python:${PYTHON}-slim
ENV MODE=production PYTHONPATH=/app \\
    GREETING="hello $PYTHON world"
ENV PATH="/opt/venv/bin:$PATH"
WORKDIR /app
COPY --from=builder /opt/venv /opt/venv
COPY --chown=app:app workloads /app/workloads
USER 1000
EXPOSE 8080
ENTRYPOINT ["python", "-m", "workloads.serving"]
CMD ["--verbose"]
"""


def test_the_entry_point_runs_from_the_context(images: Images, context: Path) -> None:
    image = build(images, context, SERVING)
    assert image.argv() == [sys.executable, "-m", "workloads.serving", "--verbose"]
    assert image.cwd == context
    out = subprocess.run(image.argv(), cwd=image.cwd, capture_output=True, text=True, check=True)
    assert out.stdout == "served\n"


def test_environment_is_the_images_with_paths_of_this_machine(
    images: Images, context: Path
) -> None:
    image = build(images, context, SERVING)
    # PATH would name folders that exist in the container only. ARG before FROM is out of scope.
    assert image.environment() == {
        "MODE": "production",
        "PYTHONPATH": str(context),
        "GREETING": "hello  world",
    }


def test_command_and_args_override_as_in_cloud_run(images: Images, context: Path) -> None:
    image = build(images, context, SERVING)
    assert image.argv(args=["--quiet"])[3:] == ["--quiet"]
    assert image.argv(command=["python3", "-c", "1"]) == [sys.executable, "-c", "1"]


def test_digest_follows_the_code_that_is_copied(images: Images, context: Path) -> None:
    first = build(images, context, SERVING)
    (context / "notes.md").write_text("changed, but never copied")
    assert build(images, context, SERVING).digest == first.digest
    (context / "workloads" / "serving" / "__main__.py").write_text("print('changed')\n")
    second = build(images, context, SERVING)
    assert second.digest != first.digest
    assert images.resolve(first.name).digest == first.digest
    assert images.resolve(REFERENCE).digest == second.digest


def test_digest_is_the_same_in_another_clone(images: Images, context: Path, tmp_path: Path) -> None:
    first = build(images, context, SERVING)
    moved = context.rename(tmp_path / "elsewhere")
    assert build(images, moved, SERVING).digest == first.digest


def test_digest_follows_meaning_not_comments(images: Images, context: Path) -> None:
    first = build(images, context, SERVING)
    assert build(images, context, SERVING + "# the end\n").digest == first.digest
    changed = SERVING.replace("MODE=production", "MODE=debug")
    assert build(images, context, changed).digest != first.digest


def test_dockerignore_keeps_files_out(images: Images, context: Path) -> None:
    text = 'FROM scratch\nCOPY . /app\nENTRYPOINT ["python"]\n'
    (context / ".dockerignore").write_text("*.md\nDockerfile\n.dockerignore\n**/cache\n!keep.md\n")
    first = build(images, context, text)
    (context / "notes.md").write_text("changed")
    (context / "workloads" / "cache").mkdir()
    (context / "workloads" / "cache" / "x").write_text("1")
    assert build(images, context, text).digest == first.digest
    (context / "keep.md").write_text("kept")
    assert build(images, context, text).digest != first.digest


def test_paths_of_the_image_are_found_here(images: Images, context: Path) -> None:
    image = build(
        images,
        context,
        "FROM beam:2\nWORKDIR /template\nCOPY workloads/serving/__main__.py main.py\n"
        "COPY workloads /src/workloads\nENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/main.py\n"
        'ENTRYPOINT ["/opt/launcher"]\n',
    )
    main = context / "workloads" / "serving" / "__main__.py"
    assert image.locate(image.env["FLEX_TEMPLATE_PYTHON_PY_FILE"]) == main
    assert image.locate("/src") == context
    assert image.locate("/nowhere") is None
    with pytest.raises(ImageNotRunnable, match="/opt/launcher"):
        image.argv()


def test_files_copied_through_a_stage_are_found(images: Images, context: Path) -> None:
    image = build(
        images,
        context,
        "FROM a AS src\nCOPY workloads /build/workloads\nFROM b\n"
        'COPY --from=src /build/workloads /app/workloads\nWORKDIR /app\nCMD ["python"]\n',
    )
    assert image.locate("workloads/__init__.py") == context / "workloads" / "__init__.py"


def test_shell_form_runs_in_a_shell(images: Images, context: Path) -> None:
    image = build(images, context, "FROM a\nCMD echo $((1 + 1))\n")
    out = subprocess.run(image.argv(), capture_output=True, text=True, check=True)
    assert out.stdout == "2\n"


def test_target_stage_and_build_arguments(images: Images, context: Path) -> None:
    text = (
        "FROM a AS base\nARG LEVEL=info\nENV LEVEL=${LEVEL}\nFROM base AS web\n"
        'ENTRYPOINT ["python"]\nFROM base AS job\nENTRYPOINT ["python3", "-V"]\n'
    )
    image = build(images, context, text, target="web", args={"LEVEL": "debug"})
    assert image.env == {"LEVEL": "debug"}
    assert image.argv() == [sys.executable]
    with pytest.raises(DockerfileError, match="base, web, job"):
        build(images, context, text, target="other")


def test_an_image_built_here_is_a_base_for_the_next(images: Images, context: Path) -> None:
    (context / "Dockerfile").write_text('FROM a\nWORKDIR /app\nENV A=1\nENTRYPOINT ["python"]\n')
    base = images.build("repo/base", context / "Dockerfile", context)
    image = build(images, context, "FROM repo/base:latest\nENV B=${A}2\nWORKDIR sub\n")
    assert (image.env, image.workdir) == ({"A": "1", "B": "12"}, "/app/sub")
    assert image.argv() == [sys.executable]
    assert image.digest != base


def test_unknown_images_are_not_found_in_googles_words(images: Images) -> None:
    with pytest.raises(ImageNotFound, match=r"Image 'repo/x:1' not found\."):
        images.resolve("repo/x:1")


def test_removed_images_are_not_found(images: Images, context: Path) -> None:
    image = build(images, context, SERVING)
    images.remove(image.name)
    for reference in (REFERENCE, image.name):
        with pytest.raises(ImageNotFound):
            images.resolve(reference)
    images.remove(REFERENCE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no FROM"),
        ("ENV A=1\nFROM a", "line 1: ENV before"),
        ("FROM a\nONBUILD RUN x", "line 2: ONBUILD is not supported"),
        ("FROM a\nRUN <<EOF\nls\nEOF", "line 2: heredocs"),
        ("FROM a\nCOPY missing /app", "no such file in the build context"),
        ("FROM a\nCOPY ../secret /app", "leaves the build context"),
        ("FROM a\nADD https://x.y/z /app", "ADD of a URL"),
        ('FROM a\nCMD ["python",]', "not JSON"),
        ("FROM a\nENV A=1 B", "expected NAME=value"),
        ("FROM a\nRUN x \\", "ends inside"),
        ("# escape=`\nFROM a", "line 1: only backslash"),
        ("FROM a\nCOPY --parents a /b", "--parents is not supported"),
    ],
)
def test_what_is_not_understood_is_refused(
    images: Images, context: Path, text: str, message: str
) -> None:
    with pytest.raises(DockerfileError, match=message):
        build(images, context, text)


def test_an_executable_bit_is_part_of_the_image(images: Images, context: Path) -> None:
    script = context / "run.sh"
    script.write_text("#!/bin/sh\necho ran\n")
    text = 'FROM a\nCOPY run.sh /run.sh\nENTRYPOINT ["/run.sh"]\n'
    first = build(images, context, text)
    script.chmod(0o755)
    image = build(images, context, text)
    assert image.digest != first.digest
    assert subprocess.run(image.argv(), capture_output=True, check=True).stdout == b"ran\n"
