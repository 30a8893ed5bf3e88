"""A new product's folder, with everything in it, made from the templates beside this file.

The folder appears at once and whole: it is written under another name and renamed at the end. Who
was killed before that leaves nothing that counts as a product, and runs it again.
"""

from __future__ import annotations

import keyword
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Final

from workloads.product import Task

TEMPLATES: Final = Path(__file__).with_name("templates")
PRODUCTS: Final = Path("workloads/products")
TESTS: Final = Path("tests/workloads/products")
_NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?")
_FILES: Final = {
    "package.py": "__init__.py",
    "contracts.py": "contracts.py",
    "dataset.py": "dataset.py",
    "features.sql": "features.sql",
    "product.py": "product.py",
}


class InvalidName(ValueError):
    """A name that no product can have, or that one has already."""


@dataclass(frozen=True, kw_only=True)
class Scaffold:
    """What a new product is called and does.

    Raises:
        InvalidName: at construction; says what is allowed.
    """

    name: str
    task: Task
    owner: str = "data-science"
    cost_center: str = "none"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or "--" in self.name:
            raise InvalidName(
                f"name is {self.name!r}; allowed: lower-case letters, digits and single hyphens, "
                "starting with a letter, not ending in a hyphen, at most 30 characters"
            )
        if keyword.iskeyword(self.id):
            raise InvalidName(
                f"name is {self.name!r}, a word of Python; allowed: a name that a package can have"
            )

    @property
    def id(self) -> str:
        """The name as Python and BigQuery spell it."""
        return self.name.replace("-", "_")

    def write(self, root: Path) -> list[Path]:
        """Write the product's folder and its test.

        Args:
            root: of the checkout.

        Returns:
            The files written.

        Raises:
            InvalidName: there is such a product, or another's test in its place. Nothing has
                changed.
        """
        folder = root / PRODUCTS / self.id
        test = root / TESTS / f"test_{self.id}.py"
        if folder.exists():
            raise InvalidName(f"{folder} exists; choose another name, or delete it to begin anew")
        content = self._filled(self._test())
        if test.exists() and test.read_text() != content:
            raise InvalidName(f"{test} exists and tests something else; choose another name")
        # A name with a dot is no package, so whoever looks for products passes it over.
        making = folder.with_name(f".{self.id}.new")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        for template, name in self._templates().items():
            (making / name).write_text(self._filled(template))
        test.parent.mkdir(parents=True, exist_ok=True)
        test.write_text(content)
        making.rename(folder)
        return [*sorted(folder.iterdir()), test]

    def _test(self) -> str:
        return "test.py"

    def _templates(self) -> dict[str, str]:
        return {**_FILES, f"training_{self.task.value}.py": "training.py"}

    def _filled(self, template: str) -> str:
        text = (TEMPLATES / f"{template}.txt").read_text()
        return Template(text).substitute(self._words())

    def _words(self) -> dict[str, str]:
        classifies = self.task is Task.CLASSIFICATION
        metric = "roc_auc" if classifies else "mae"
        return {
            "name": self.name,
            "id": self.id,
            "title": self.name.replace("-", " "),
            "owner": self.owner,
            "cost_center": self.cost_center,
            "task": self.task.name,
            "task_word": self.task.value,
            "metric": metric,
            "label": "bad" if classifies else "amount",
            "answer": "probability" if classifies else "amount",
            "label_sql": "outcomes.amount > 20" if classifies else "outcomes.amount",
            "label_words": ("whether more than 20 came of it" if classifies else "what came of it"),
            "floor": "0.7" if classifies else "10.0",
            "gain": "0.002" if classifies else "0.05",
            "slice_tolerance": "0.05" if classifies else "1.0",
            "better": ">" if classifies else "<",
        }
