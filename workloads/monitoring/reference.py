"""What a window is held against: for each feature the cells that values fall into, and counts.

A model's profile (`workloads.training.profile`), of its features or of its answers, is the usual
reference, for the skew between training and serving and for drift since; counts of an earlier
window are another, for drift from that window.

Cells of a number: below the first edge, each bin `[edge, next edge)`, above the last edge; the last
edge itself belongs to the last bin. Cells of text: each category, and one for all other text.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS: Final = 20

Kind = Literal["number", "text"]


class InvalidProfile(ValueError):
    """A profile that nothing can be compared with. Names the feature, and what is wrong."""


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """How the values of one feature fall into its cells."""

    cells: tuple[int, ...]
    nulls: int = 0
    """Rows without a value; NaN counts as none."""

    @property
    def values(self) -> int:
        """Rows with a value."""
        return sum(self.cells)

    @property
    def rows(self) -> int:
        """All rows."""
        return self.values + self.nulls

    def __add__(self, other: Histogram) -> Histogram:
        """Of two parts of the same rows; both must have the same cells."""
        cells = tuple(a + b for a, b in zip(self.cells, other.cells, strict=True))
        return Histogram(cells=cells, nulls=self.nulls + other.nulls)


class Feature(msgspec.Struct, frozen=True, kw_only=True):
    """One feature: its cells, and how the reference fell into them."""

    name: str
    kind: Kind
    edges: tuple[float, ...] = ()
    """Of a number, rising; none where the reference holds no value."""
    categories: tuple[str, ...] = ()
    """Of text."""
    counts: Histogram
    rare: int = 2
    """Of text: categories seen once, by which the unseen ones are estimated. Of numbers: 2, the
    extremes, which lie in the range because it was made of them; 0 where it was made of others."""

    @property
    def outside(self) -> tuple[int, ...]:
        """The positions of the cells that a value of the reference's range does not fall into."""
        if self.kind == "text":
            return (len(self.categories),)
        return (0, len(self.edges)) if self.edges else (0,)

    @property
    def size(self) -> int:
        """The number of cells."""
        return (len(self.categories) if self.kind == "text" else len(self.edges)) + 1


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """The features of one model, or of one window."""

    features: tuple[Feature, ...]

    def feature(self, name: str) -> Feature:
        """A feature by its name.

        Raises:
            KeyError: there is none; lists those there are.
        """
        for one in self.features:
            if one.name == name:
                return one
        raise KeyError(f"no feature {name!r}; there are {[one.name for one in self.features]}")

    def only(self, names: Collection[str]) -> Reference:
        """The features of some names, those that there are: of a profile of answers, what the
        prediction log holds of them too."""
        return Reference(features=tuple(one for one in self.features if one.name in names))


def from_profile(profile: Mapping[str, Mapping[str, Any]]) -> Reference:
    """The reference that is stored beside a model as `profile.json`.

    Raises:
        InvalidProfile: an entry has no kind, or its edges and counts do not fit each other.
    """
    return Reference(features=tuple(_feature(name, entry) for name, entry in profile.items()))


def _feature(name: str, entry: Mapping[str, Any]) -> Feature:
    missing = [one for one in ("kind", "rows", "nulls") if one not in entry]
    if missing:
        raise InvalidProfile(f"profile of `{name}` lacks {missing}; train the model again")
    nulls = int(entry["nulls"])
    known = int(entry["rows"]) - nulls
    if entry["kind"] == "string":
        values: Mapping[str, int] = entry.get("values", {})
        others = known - sum(values.values())
        if others < 0:
            raise InvalidProfile(
                f"profile of `{name}` counts {sum(values.values())} values in {known} rows that "
                "have one; train the model again"
            )
        return Feature(
            name=name,
            kind="text",
            categories=tuple(values),
            counts=Histogram(cells=(*values.values(), others), nulls=nulls),
            # Of what the profile did not list, each row may be of a category of its own.
            rare=sum(1 for one in values.values() if one == 1) + others,
        )
    edges: Sequence[float] = entry.get("edges", ())
    counts: Sequence[int] = entry.get("counts", ())
    rising = all(one is not None and math.isfinite(one) for one in edges) and all(
        one < other for one, other in itertools.pairwise(edges)
    )
    if not rising or (edges and len(counts) != len(edges) - 1) or sum(counts) != known:
        raise InvalidProfile(
            f"profile of `{name}` has {len(edges)} edges and {len(counts)} counts of "
            f"{sum(counts)} in all; allowed: finite, rising edges, one more than counts, which sum "
            f"to the {known} rows that have a value; train the model again"
        )
    cells = (0, *counts, 0) if edges else (0,)
    return Feature(
        name=name,
        kind="number",
        edges=tuple(float(one) for one in edges),
        counts=Histogram(cells=cells, nulls=nulls),
    )


def of_window(reference: Reference, counts: Mapping[str, Histogram]) -> Reference:
    """An earlier window as the reference, in the cells that it was counted in.

    Args:
        reference: whose cells they are.
        counts: by feature; features that were not counted are left out.
    """
    return Reference(
        features=tuple(
            msgspec.structs.replace(
                one,
                counts=counts[one.name],
                rare=sum(1 for cell in counts[one.name].cells if cell == 1)
                if one.kind == "text"
                else 0,
            )
            for one in reference.features
            if one.name in counts
        )
    )


def number(name: str, values: NDArray[Any], bins: int = BINS) -> Feature:
    """A feature whose bins hold equal shares of some numbers, NaN for those that are missing."""
    import numpy as np

    known = np.asarray(values, dtype=np.float64)
    nulls = int(np.isnan(known).sum())
    known = known[np.isfinite(known)]
    edges = edges_of(known, bins)
    cells = np.histogram(known, edges)[0].tolist() if edges else []
    return Feature(
        name=name,
        kind="number",
        edges=edges,
        counts=Histogram(cells=(0, *cells, 0) if edges else (0,), nulls=nulls),
    )


def edges_of(values: NDArray[Any], bins: int = BINS) -> tuple[float, ...]:
    """Edges of bins that hold equal shares of some finite numbers; none for no numbers.

    The largest has a bin of its own, as wide as two neighbouring numbers are apart: the last bin
    would otherwise hold it together with the value before it, and 0 and 1 would be one bin.
    """
    import numpy as np

    if values.size == 0:
        return ()
    quantiles = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
    return (*quantiles.tolist(), float(np.nextafter(quantiles[-1], np.inf)))
