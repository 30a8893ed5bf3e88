"""Where things lie in a checkout."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
"""The checkout."""
TOOLS: Final = ROOT / ".esteira"
"""What the checkout obtained for itself: engine, environments. `make clean` removes it."""
BIN: Final = TOOLS / "bin"
STATE: Final = Path(os.environ.get("ESTEIRA_STATE", TOOLS)).resolve()
"""The state of the local cloud and stack. ESTEIRA_STATE moves it, so that a test leaves the local
cloud of a person alone."""
LOCAL: Final = STATE / "local"
STACK_STATE: Final = STATE / "state"
"""The Pulumi state of the local stack."""
