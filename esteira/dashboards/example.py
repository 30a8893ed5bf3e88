"""`python -m esteira.dashboards.example`: renew `examples/dashboards`.

They are of settings that no stack's file says, so that whoever adds a product, or moves a threshold
of prod, has no example to renew.
"""

from __future__ import annotations

from typing import Final

from esteira.dashboards import files
from esteira.paths import ROOT
from stacks.settings import Settings

FOLDER: Final = ROOT / "examples" / "dashboards"
PRODUCTS: Final = ("flight-delay", "arrival-delay")
"""Those that come with Esteira."""


def settings() -> Settings:
    """A prod of these products with nothing but defaults."""
    return Settings.from_values(
        {"environment": "prod", "project": "esteira-prod", "products": list(PRODUCTS)}
    )


if __name__ == "__main__":
    for path in files.write(files.generated(settings()), FOLDER):
        print(FOLDER / path)  # noqa: T201
