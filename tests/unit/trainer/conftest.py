from collections.abc import Iterator

import pytest

from sdar.trainer.distributed import World, join


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """The world of one process."""
    with join() as world:
        yield world
