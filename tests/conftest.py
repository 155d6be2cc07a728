"""What every test starts from: logs configured by an earlier test must not write to the output it had."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import structlog


def pytest_configure() -> None:
    """A shell that runs the tests in the background has them ignore Ctrl-C; what they start must not."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Know the option of ``make soak``."""
    parser.addoption("--long", action="store_true", help="give tests that have a long form all the time it needs")


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    """Return whether a test takes its long form."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(autouse=True)
def fresh_logs() -> Iterator[None]:
    """Forget how an earlier test configured logging."""
    yield
    structlog.reset_defaults()
