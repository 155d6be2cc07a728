"""What every test starts from: logs configured by an earlier test must not write to the output it had."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def fresh_logs() -> Iterator[None]:
    """Forget how an earlier test configured logging."""
    yield
    structlog.reset_defaults()
