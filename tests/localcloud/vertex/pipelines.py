"""Small pipelines, compiled as a product's would be.

kfp reads annotations as objects: no postponed evaluation here. Each component is a program of its
own, so it imports what it uses.
"""

# ruff: noqa: B006, E712, PTH103, PTH110, PTH118, PTH123, SIM115, T201

from pathlib import Path

from kfp import compiler, dsl

BASE = "python:3.13"


@dsl.component(base_image=BASE)
def extract(rows: int, data: dsl.Output[dsl.Dataset]) -> int:
    with open(data.path, "w") as out:
        out.writelines(f"{number}\n" for number in range(rows))
    data.metadata["rows"] = rows
    return rows


@dsl.component(base_image=BASE)
def train(
    data: dsl.Input[dsl.Dataset], model: dsl.Output[dsl.Model], metrics: dsl.Output[dsl.Metrics]
) -> str:
    import os
    import urllib.parse
    import urllib.request

    numbers = [int(line) for line in open(data.path)]
    os.makedirs(model.path)
    with open(os.path.join(model.path, "model.txt"), "w") as out:
        out.write(str(sum(numbers)))
    metrics.log_metric("total", sum(numbers))
    # Another program sees the data where its URI says, through the cloud's own API.
    bucket, _, name = data.uri.removeprefix("gs://").partition("/")
    host = os.environ["STORAGE_EMULATOR_HOST"]
    name = urllib.parse.quote(name, safe="")
    with urllib.request.urlopen(f"{host}/storage/v1/b/{bucket}/o/{name}?alt=media") as response:
        assert len(response.read().split()) == len(numbers)
    return model.uri


@dsl.component(base_image=BASE)
def fail(message: str):
    print("about to fail")
    raise ValueError(message)


@dsl.component(base_image=BASE)
def square(number: int) -> int:
    return number * number


@dsl.component(base_image=BASE)
def total(numbers: list) -> int:
    return int(sum(numbers))  # kfp hands numbers of a list over as floats


@dsl.component(base_image=BASE)
def wait_for(file: str) -> bool:
    import os
    import time

    with open(file + ".started", "a") as out:
        out.write("started\n")
    while not os.path.exists(file):
        time.sleep(0.05)
    return True


@dsl.component(base_image=BASE)
def surroundings() -> dict:
    import os

    told = ("HOST", "CLOUD", "TMPDIR", "OMP_WAIT_POLICY")
    return {name: value for name, value in os.environ.items() if any(one in name for one in told)}


@dsl.pipeline(name="training")
def training(rows: int = 10):
    extracted = extract(rows=rows)
    train(data=extracted.outputs["data"])


@dsl.pipeline(name="failing")
def failing(message: str):
    failed = fail(message=message)
    square(number=3).after(failed)


@dsl.pipeline(name="branching")
def branching(numbers: list = [1, 2, 3], also: bool = False):
    with dsl.ParallelFor(numbers) as number:
        squared = square(number=number)
    total(numbers=dsl.Collected(squared.output))
    with dsl.If(also == True):
        surroundings()


@dsl.pipeline(name="waiting")
def waiting(file: str):
    wait_for(file=file)


@dsl.pipeline(name="looking")
def looking():
    surroundings()


@dsl.pipeline(name="importing")
def importing(uri: str, rows: int = 3):
    imported = dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset)
    train(data=imported.output)


def compiled(pipeline: object, folder: Path) -> str:
    """Path of the compiled pipeline."""
    path = folder / f"{pipeline.name}.yaml"
    compiler.Compiler().compile(pipeline, str(path))
    return str(path)
