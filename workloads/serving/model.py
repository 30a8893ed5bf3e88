"""The model of a server: fetched, verified, loaded once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workloads import product as products
from workloads.artifacts import Folder
from workloads.contracts import Contract
from workloads.manifest import MANIFEST, MODEL, Manifest
from workloads.scoring import ModelRefused, Scorer, verify
from workloads.serving.settings import ServingSettings


class ServedModel:
    """A verified model and how its answers read."""

    def __init__(self, manifest: Manifest, scorer: Scorer, request: type[Contract]) -> None:
        self.manifest = manifest
        self.request = request
        self._scorer = scorer

    @classmethod
    def load(cls, settings: ServingSettings) -> ServedModel:
        """Fetch the artefacts and load the model, if it is the one that was registered.

        Raises:
            ModelRefused: product, contract or hash differ; the message says which.
            ArtifactNotFound: the folder holds no manifest or no model.
        """
        product = products.load(settings.product)
        request = product.features.request
        folder = Folder(settings.aip_storage_uri.rstrip("/"))
        manifest = folder.read_json(MANIFEST, Manifest)
        for what, found, expected in (
            ("product", manifest.product, product.name),
            ("task", manifest.task.value, product.task.value),
            ("contract", manifest.contract, request.NAME),
            ("contract version", manifest.contract_version, request.VERSION),
        ):
            if found != expected:
                raise ModelRefused(
                    f"{folder.uri}/{MANIFEST}: {what} is {found!r}; this server takes {expected!r}"
                )
        # The registry's word, where it was given, outranks a file that lies beside the model.
        sha256 = settings.model_sha256 or manifest.model_sha256
        content = verify(folder.read(MODEL), sha256, f"{folder.uri}/{MODEL}")
        return cls(manifest, Scorer(content, request, product.task), request)

    def predict(self, rows: Sequence[Contract]) -> list[dict[str, Any]]:
        """One answer a row.

        A classification's has the probability, and yes or no under the label's name; a
        regression's the number under the label's name, and the bounds of its interval.
        """
        threshold, label, run = (
            self.manifest.threshold,
            self.manifest.label,
            self.manifest.run,
        )
        answers = self._scorer.rows(rows)
        if answers.lower is not None and answers.upper is not None:
            columns = (answers.value.tolist(), answers.lower.tolist(), answers.upper.tolist())
            return [
                {label: value, "lower": lower, "upper": upper, "model": run}
                for value, lower, upper in zip(*columns, strict=True)
            ]
        return [
            {
                "probability": probability,
                label: threshold is not None and probability >= threshold,
                "model": run,
            }
            for probability in answers.value.tolist()
        ]
