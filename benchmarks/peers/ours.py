"""Ours, exactly as a container starts it: all this adds is the product of the benchmark."""

from __future__ import annotations

import sys
from pathlib import Path

from workloads import products
from workloads.serving.__main__ import main

if __name__ == "__main__":
    products.__path__.append(str(Path(__file__).parent / "products"))
    sys.exit(main())
