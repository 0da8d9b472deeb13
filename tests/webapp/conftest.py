"""Studios for the tests of the web side, on each test's own database."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from running import Running, start

from webapp import demo


@pytest.fixture
def environ(database_url: str, broker_url: str, tmp_path: Path) -> dict[str, str]:
    """The settings of a studio on this test's database."""
    return {
        "ATELIER_STATE": str(tmp_path),
        "DATABASE_URL": database_url,
        "BROKER_URL": broker_url,
    }


@pytest.fixture
def stack(environ: dict[str, str]) -> Iterator[ExitStack]:  # noqa: ARG001 - ends before its database
    """What a test has started, ended with it."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def demo_studio(stack: ExitStack, environ: dict[str, str]) -> Running:
    """A running demonstration with its four people and $25."""
    running = start(stack, environ)
    demo.seed(running.database)
    return running
