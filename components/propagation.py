"""Waits until all of Google knows of what was made just now.

Google answers that an API is on, or that a role is granted, before every one of its servers acts
on it, and offers nothing to ask whether they all do: "it takes a few minutes" is what its documents
say (cloud.google.com/iam/docs/access-change-propagation). What comes right after then fails, and
works when it is run again. So the first time there is a wait; a later run makes nothing and waits
for nothing, and a preview never waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import pulumi


class Propagation:
    """One wait, after the last of the resources that were made in this run.

    Each of them carries `hooks`, which only take note of the time and so hold up nothing; what
    needs all of them takes its value from `after`.
    """

    def __init__(self, name: str, *, seconds: float) -> None:
        """
        Args:
            name: Unique in the program.
            seconds: How long the wait is; none at 0.
        """
        self._seconds = seconds
        self._made: float | None = None
        # Pulumi runs it when a resource was really made, never in a preview nor for what was there.
        self._hook = pulumi.ResourceHook(f"made:{name}", self._note) if seconds else None

    @property
    def hooks(self) -> pulumi.ResourceHookBinding | None:
        """For the options of each resource that has to propagate."""
        return pulumi.ResourceHookBinding(after_create=[self._hook]) if self._hook else None

    def after[T](
        self, value: pulumi.Input[T], resources: Iterable[pulumi.Resource]
    ) -> pulumi.Output[T]:
        """The value, known once the resources are there and Google had time to know of them."""

        async def waited(known: list[T]) -> T:
            if self._made is not None:
                await asyncio.sleep(max(0.0, self._made + self._seconds - time.monotonic()))
            return known[0]

        urns = [resource.urn for resource in resources]
        return pulumi.Output.all(value, *urns).apply(waited)

    def _note(self, _: pulumi.ResourceHookArgs) -> None:
        self._made = time.monotonic()
