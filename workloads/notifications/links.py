"""Names of the links of an alert policy that lead to what monitors wrote.

They are for whoever is told by the policy alone, by e-mail: a message of the relay says what was
found, and links the report itself. Plain data: the Pulumi program imports it.
"""

from __future__ import annotations

from typing import Final

FOUND: Final = "What was found"
"""The newest record of the kind, which is written over with each alarm."""
REPORTS: Final = "Reports"
"""The folder of the reports."""
