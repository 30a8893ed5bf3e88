"""Where things lie in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
"""The checkout."""
STATE: Final = ROOT / ".esteira"
"""Everything this checkout makes for itself; git ignores it, `make clean` removes it."""
BIN: Final = STATE / "bin"
LOCAL: Final = STATE / "local"
STACK_STATE: Final = STATE / "state"
"""The Pulumi state of the local stack."""
