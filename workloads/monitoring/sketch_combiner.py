"""The sketches of a stream as a Beam combine function, for the streaming job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import apache_beam as beam
from apache_beam.coders import Coder

from workloads.monitoring.reference import Histogram, Reference
from workloads.monitoring.sketches import Sketches


class SketchesCoder(Coder):
    """Sketches between workers, as bytes of their own making: nothing is pickled.

    Args:
        reference: whose features they hold.
    """

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    def encode(self, value: Sketches) -> bytes:
        return value.pack()

    def decode(self, encoded: bytes) -> Sketches:
        return Sketches.unpack(self._reference, encoded)

    def is_deterministic(self) -> bool:
        return False


class CombineSketches(beam.CombineFn):
    """Rows, as mappings by feature, into histograms in the cells of a reference.

    Args:
        reference: the features and their cells.
    """

    def __init__(self, reference: Reference) -> None:
        super().__init__()
        self._reference = reference

    def create_accumulator(self, *args: Any, **kwargs: Any) -> Sketches:
        return Sketches(self._reference)

    def add_input(
        self, mutable_accumulator: Sketches, element: Mapping[str, Any], *args: Any, **kwargs: Any
    ) -> Sketches:
        mutable_accumulator.add(element)
        return mutable_accumulator

    def merge_accumulators(
        self, accumulators: Iterable[Sketches], *args: Any, **kwargs: Any
    ) -> Sketches:
        merged = Sketches(self._reference)
        for one in accumulators:
            merged.merge(one)
        return merged

    def extract_output(
        self, accumulator: Sketches, *args: Any, **kwargs: Any
    ) -> dict[str, Histogram]:
        return accumulator.histograms()

    def get_accumulator_coder(self) -> Coder:
        return SketchesCoder(self._reference)
