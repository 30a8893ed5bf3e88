"""A relay with one channel, and a ledger that forgets."""

from __future__ import annotations

import httpx
import pytest

from tests.workloads.notifications.notices import (
    SECRETS,
    SETTINGS,
    Channel,
    Memory,
)
from workloads.notifications.relay import Relay


@pytest.fixture
def channel() -> Channel:
    return Channel()


@pytest.fixture
def ledger() -> Memory:
    return Memory()


@pytest.fixture
def relay(channel: Channel, ledger: Memory) -> Relay:
    return Relay(SETTINGS, SECRETS, ledger, httpx.MockTransport(channel))
