"""What needs no Ray comes last, and is not slowed by one that idles."""

import pytest

from tests.support.local_ray import end_shared_ray


@pytest.fixture(scope="session", autouse=True)
def without_ray():
    """That of other tests takes a twentieth of a core when nothing is to be done."""
    end_shared_ray()
