"""The training pipeline: extract, validate, train, evaluate, register.

Compiled by a command, never at import, and run unchanged by Vertex AI Pipelines and by `kfp.local`:

    python -m workloads.training.pipeline flight-delay IMAGE pipeline.yaml

Every step is a lightweight component that imports `workloads` when it runs, in the image given
here. A step may run twice: what it writes is named by the run or by the hash of its content.
"""
# kfp reads the annotations of a component as objects: no `from __future__ import annotations`.

import argparse
from pathlib import Path
from typing import Any

from kfp import compiler, dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from workloads import product as products
from workloads.product import Product


def extract(
    product: str,
    project: str,
    location: str,
    start: str,
    split: str,
    end: str,
    training: Output[Dataset],
    holdout: Output[Dataset],
) -> None:
    """Freeze the rows to learn from and the rows to judge by."""
    from workloads.training import steps

    steps.extract(steps.Context(product, project, location), start, split, end, training, holdout)


def validate(
    product: str, project: str, location: str, training: Input[Dataset], holdout: Input[Dataset]
) -> str:
    """Hold the rows to their contract, and to the past."""
    from workloads.training import steps

    return steps.validate(steps.Context(product, project, location), training, holdout)


def train(
    product: str,
    project: str,
    location: str,
    run: str,
    training: Input[Dataset],
    holdout: Input[Dataset],
    model: Output[Model],
) -> None:
    """Fit, export to ONNX, and hold the export to the fitted model."""
    from workloads.training import steps

    steps.train(steps.Context(product, project, location), run, training, holdout, model)


def evaluate(
    product: str,
    project: str,
    location: str,
    run: str,
    code_version: str,
    training: Input[Dataset],
    holdout: Input[Dataset],
    model: Input[Model],
    scores: Output[Metrics],
) -> None:
    """Score the model on the hold-out, beside the base rate."""
    from workloads.training import steps

    steps.evaluate(
        steps.Context(product, project, location),
        run,
        code_version,
        training,
        holdout,
        model,
        scores,
    )


def register(
    product: str,
    project: str,
    location: str,
    run: str,
    serving_image: str,
    tracking: str,
    scores: Input[Metrics],
) -> str:
    """Make a version of the product's model, and log its run; returns its number."""
    from workloads.training import steps

    context = steps.Context(product, project, location, tracking)
    return steps.register(context, run, serving_image, scores)


def build(product: Product, image: str) -> Any:
    """The pipeline of a product, each step in `image`."""

    def step(function: Any) -> Any:
        # The image holds kfp already: a step installs nothing when it starts.
        return dsl.component(base_image=image, install_kfp_package=False)(function)

    extraction, validation, training_, evaluation, registration = (
        step(one) for one in (extract, validate, train, evaluate, register)
    )

    @dsl.pipeline(name=f"{product.name}-training", description=product.title)
    def training(
        project: str,
        location: str,
        run: str,
        start: str,
        split: str,
        end: str,
        serving_image: str,
        code_version: str,
        tracking: str = "",
    ) -> str:
        here = {"product": product.name, "project": project, "location": location}
        rows = extraction(**here, start=start, split=split, end=end)
        # The raw tables change under the same parameters: a cached extract would be stale.
        rows.set_caching_options(False)
        parts = {name: rows.outputs[name] for name in ("training", "holdout")}
        validated = validation(**here, **parts)
        fitted = training_(**here, run=run, **parts).after(validated)
        judged = evaluation(
            **here, run=run, code_version=code_version, **parts, model=fitted.outputs["model"]
        )
        registered = registration(
            **here,
            run=run,
            serving_image=serving_image,
            tracking=tracking,
            scores=judged.outputs["scores"],
        )
        return registered.output

    return training


def compile_pipeline(product: Product, image: str, path: Path) -> Path:
    """Write the pipeline as YAML.

    Args:
        image: the training image that every step runs in.
        path: ends in `.yaml`; its folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(build(product, image), package_path=str(path))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Compile the training pipeline of a product.")
    parser.add_argument("product", help=f"one of {', '.join(products.names())}")
    parser.add_argument("image", help="the training image that every step runs in")
    parser.add_argument("path", type=Path, help="where the YAML goes")
    given = parser.parse_args()
    compile_pipeline(products.load(given.product), given.image, given.path)


if __name__ == "__main__":
    main()
