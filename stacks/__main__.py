"""What `pulumi up` runs."""

from __future__ import annotations

import sys
from pathlib import Path

# The language host starts this folder, from which its own package could not be imported.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stacks.program import program

program()
